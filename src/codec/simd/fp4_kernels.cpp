#include "codec/simd/fp4_kernels.hpp"

#include <cstdint>
#include <cstring>

#include "codec/kernel.hpp"
#include "codec/scalar/fp4.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/fp4_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/float-inl.hpp"
#include "codec/simd/groups-inl.hpp"
#include "codec/simd/unpack-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {
namespace {

constexpr std::size_t kMxBlock = 32, kMxBytes = 17;
constexpr std::size_t kNvBlock = 64, kNvBytes = 36;
constexpr std::size_t kNvGroup = 16, kNvGroups = kNvBlock / kNvGroup;

HWY_ALIGN constexpr std::int8_t kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Decoding

/// 2^(e − 128)
HWY_INLINE float MxScale(std::uint32_t e) {
  const std::uint32_t bits = e < 2 ? 0x00200000U << e : (e - 1) << 23;
  float scale = 0;
  std::memcpy(&scale, &bits, sizeof scale);
  return scale;
}

void DecodeMxBatch(const std::byte* src, float* dst, std::size_t blocks) {
  const CodeF df;
  HWY_ALIGN std::int8_t values[kMxBlock];
  for (std::size_t b = 0; b < blocks; ++b, src += kMxBytes, dst += kMxBlock) {
    const auto d = hn::Set(df, MxScale(std::to_integer<std::uint32_t>(src[0])));
    LookUpNibbles(src + 1, kValues, values);
    for (std::size_t j = 0; j < kMxBlock; j += hn::Lanes(df)) StoreScaled(LoadSignedBytes(values + j), d, dst + j);
  }
}

/// Half of each of NVFP4's scales. The sign is passed over, but 0x7F stands for 0 and 0xFF doesn't.
template <class DI>
HWY_INLINE hn::Vec<hn::RebindToFloat<DI>> NvScale(DI di, hn::Vec<DI> bits) {
  const hn::RebindToFloat<DI> df;
  const auto code = hn::And(bits, hn::Set(di, 0x7F));
  const auto wide = hn::IfThenZeroElse(hn::Eq(bits, hn::Set(di, 0x7F)), WidenMagnitude<3, 7>(di, code));
  return hn::Mul(hn::BitCast(df, wide), hn::Set(df, 0.5F));
}

/// Half a group, which has its codes in as many nibbles of one kind.
HWY_INLINE void StoreHalfGroup(const std::int8_t* values, float scale, float* dst) {
  const hn::CappedTag<float, kNvGroup / 2> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::int8_t, decltype(df)> db;
  for (std::size_t j = 0; j < kNvGroup / 2; j += hn::Lanes(df)) {
    const auto wide = hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(db, values + j)));
    hn::StoreU(hn::Mul(wide, hn::Set(df, scale)), df, dst + j);
  }
}

void DecodeNvBatch(const std::byte* src, float* dst, std::size_t blocks) {
  const hn::CappedTag<float, kNvGroups> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::uint8_t, decltype(df)> db;
  HWY_ALIGN float scales[kNvGroups];
  HWY_ALIGN std::int8_t values[2 * kNvGroup];
  for (std::size_t b = 0; b < blocks; ++b, src += kNvBytes) {
    const auto bits = hn::PromoteTo(di, hn::LoadU(db, reinterpret_cast<const std::uint8_t*>(src)));
    hn::Store(NvScale(di, bits), df, scales);
    for (std::size_t g = 0; g < kNvGroups; g += 2, dst += 2 * kNvGroup) {
      LookUpNibbles(src + kNvGroups + g * kNvGroup / 2, kValues, values);  // those of two groups
      StoreHalfGroup(values, scales[g], dst);
      StoreHalfGroup(values + 16, scales[g], dst + 8);
      StoreHalfGroup(values + 8, scales[g + 1], dst + 16);
      StoreHalfGroup(values + 24, scales[g + 1], dst + 24);
    }
  }
}

// Encoding, with a group in each lane
//
// The reference tries all values and takes the one with the smallest error. Where a number lies among the values, its
// distances to the two beside it are exact, so that it is the same to ask on which side of their middle the number is;
// the middles are exact too. Numbers so large or small that this doesn't hold are left to the reference.

/// The codes of a number of each group; the middle goes to the smaller one. There is no −0.
HWY_INLINE hn::Vec<GroupI> CodeOf(const float* x, hn::Vec<GroupF> d) {
  const GroupF df;
  const GroupI di;
  const auto number = hn::Load(df, x);
  const auto size = hn::Abs(number);
  const auto times = [&](float factor) HWY_ATTR { return hn::Mul(d, hn::Set(df, factor)); };
  const auto from4 = hn::Gt(size, times(3.5F));
  const auto from2 = hn::Gt(size, hn::IfThenElse(from4, times(7), times(1.5F)));
  const auto low = hn::IfThenElse(from2, times(2.5F), times(0.5F));
  const auto high = hn::IfThenElse(from2, times(10), times(5));
  const auto odd = hn::Gt(size, hn::IfThenElse(from4, high, low));
  const auto four = hn::IfThenElseZero(hn::RebindMask(di, from4), hn::Set(di, 4));
  const auto two = hn::IfThenElseZero(hn::RebindMask(di, from2), hn::Set(di, 2));
  const auto one = hn::IfThenElseZero(hn::RebindMask(di, odd), hn::Set(di, 1));
  const auto negative = hn::And(hn::ShiftRight<28>(hn::BitCast(di, number)), hn::Set(di, 8));
  const auto sign = hn::IfThenElseZero(hn::RebindMask(di, hn::Gt(size, times(0.5F))), negative);
  return hn::Or(hn::Or(four, two), hn::Or(one, sign));
}

/// The codes of four numbers that follow each other, in the low half of a byte each, and in the high halves those of
/// four that come kApart later.
template <std::size_t kApart>
HWY_INLINE hn::Vec<GroupI> EightCodes(const float* x, hn::Vec<GroupF> d) {
  const GroupI di;
  const std::size_t lanes = hn::Lanes(di);
  auto codes = hn::Zero(di);
  for (std::size_t i = 4; i-- != 0;) {
    const auto both = hn::Or(CodeOf(x + i * lanes, d), hn::ShiftLeft<4>(CodeOf(x + (i + kApart) * lanes, d)));
    codes = hn::Or(hn::ShiftLeft<8>(codes), both);
  }
  return codes;
}

/// The largest magnitude of each group, as bits: NaN comes above infinity.
template <std::size_t kSize>
HWY_INLINE hn::Vec<GroupI> LargestOf(const float* x) {
  const GroupI di;
  auto most = hn::Zero(di);
  for (std::size_t i = 0; i < kSize; ++i) {
    most = hn::Max(most, Magnitude(di, hn::BitCast(di, hn::Load(GroupF(), x + i * hn::Lanes(di)))));
  }
  return most;
}

/// Up to a vector's lanes of blocks. False where that is the reference's job: scales near the ends of float32, and
/// numbers so close below a power of two that the reference's logarithm may take them for it.
HWY_INLINE bool EncodeMxLanes(const float* x, std::byte* dst, std::size_t blocks) {
  const GroupF df;
  const GroupI di;
  const std::size_t lanes = hn::Lanes(di);
  const auto most = LargestOf<kMxBlock>(x);
  const auto exponent = hn::ShiftRight<23>(most);
  const auto zero = hn::Eq(most, hn::Zero(di));
  const auto mantissa = hn::And(most, hn::Set(di, 0x7FFFFF));
  const auto extreme = hn::Or(hn::Lt(exponent, hn::Set(di, 4)), hn::Gt(exponent, hn::Set(di, 249)));
  const auto odd = hn::Or(extreme, hn::Gt(mantissa, hn::Set(di, 0x7FFFBF)));
  if (HWY_UNLIKELY(!hn::AllFalse(di, hn::AndNot(zero, odd)))) return false;

  const auto d = hn::BitCast(df, hn::ShiftLeft<23>(hn::Sub(exponent, hn::Set(di, 3))));
  const auto scale = hn::IfThenElse(hn::RebindMask(df, zero), hn::Set(df, 1.0F), d);  // nothing comes of it
  HWY_ALIGN std::int32_t e[kMaxGroups];
  HWY_ALIGN std::int32_t words[4 * kMaxGroups];
  hn::Store(hn::IfThenZeroElse(zero, hn::Sub(exponent, hn::Set(di, 2))), di, e);
  hn::StoreInterleaved4(EightCodes<16>(x, scale), EightCodes<16>(x + 4 * lanes, scale),
                        EightCodes<16>(x + 8 * lanes, scale), EightCodes<16>(x + 12 * lanes, scale), di, words);
  for (std::size_t b = 0; b < blocks; ++b) {
    dst[b * kMxBytes] = static_cast<std::byte>(e[b]);
    std::memcpy(dst + b * kMxBytes + 1, words + 4 * b, 16);
  }
  return true;
}

/// A sixth of the largest number as NVFP4's scale; see f32_to_ue4m3.
HWY_INLINE hn::Vec<GroupI> NvScaleBits(hn::Vec<GroupF> most) {
  const GroupF df;
  const GroupI di;
  const auto number = hn::Div(most, hn::Set(df, 6.0F));
  const auto rounded = hn::ShiftRight<20>(hn::Add(hn::BitCast(di, number), hn::Set(di, 0x80000)));
  const auto normal = hn::Sub(rounded, hn::Set(di, (127 - 7) << 3));
  const auto small = hn::Lt(number, hn::Set(df, 0x1p-6F));
  const auto eighths =
      hn::ConvertTo(di, hn::IfThenElseZero(small, hn::Add(hn::Mul(number, hn::Set(df, 512.0F)), hn::Set(df, 0.5F))));
  const auto bits = hn::IfThenElse(hn::RebindMask(di, small), hn::Min(eighths, hn::Set(di, 7)), normal);
  return hn::IfThenElse(hn::RebindMask(di, hn::Ge(number, hn::Set(df, 248.0F))), hn::Set(di, 0x7E), bits);
}

/// Up to a vector's lanes of groups, four to a block. False where that is the reference's job: beside numbers from
/// 2^20 on, which even the largest scale leaves far above the values, all errors are rounded to the same.
HWY_INLINE bool EncodeNvLanes(const float* x, std::byte* dst, std::size_t groups) {
  const GroupF df;
  const GroupI di;
  const std::size_t lanes = hn::Lanes(di);
  const auto most = LargestOf<kNvGroup>(x);
  if (HWY_UNLIKELY(!hn::AllTrue(di, hn::Lt(most, hn::Set(di, 0x49800000))))) return false;

  const auto bits = NvScaleBits(hn::BitCast(df, most));
  const auto half = NvScale(di, bits);
  // All values are 0 then, and the first of them is taken.
  const auto infinite = hn::BitCast(df, hn::Set(di, 0x7F800000));
  const auto d = hn::IfThenElse(hn::Eq(half, hn::Zero(df)), infinite, half);
  HWY_ALIGN std::int32_t scales[kMaxGroups];
  HWY_ALIGN std::int32_t words[2 * kMaxGroups];
  hn::Store(bits, di, scales);
  hn::StoreInterleaved2(EightCodes<8>(x, d), EightCodes<8>(x + 4 * lanes, d), di, words);
  for (std::size_t g = 0; g < groups; g += kNvGroups, dst += kNvBytes) {
    for (std::size_t i = 0; i < kNvGroups; ++i) dst[i] = static_cast<std::byte>(scales[g + i]);
    std::memcpy(dst + kNvGroups, words + 2 * g, kNvBytes - kNvGroups);
  }
  return true;
}

using EncodeLanesFn = bool (*)(const float* x, std::byte* dst, std::size_t groups);

/// Encodes blocks of kSize · kGroupsInBlock numbers, as many groups at a time as there are lanes.
template <std::size_t kSize, std::size_t kGroupsInBlock, std::size_t kBytes, EncodeLanesFn kEncodeLanes>
HWY_INLINE void EncodeGroups(const float* src, std::byte* dst, std::size_t n, EncodeFn reference) {
  HWY_ALIGN float x[kSize * kMaxGroups];
  for (std::size_t left = n / kSize; left != 0;) {
    const std::size_t groups = HWY_MIN(left, hn::Lanes(GroupF()));
    LoadGroups<kSize>(src, groups, x);
    if (HWY_UNLIKELY(!kEncodeLanes(x, dst, groups))) reference(src, dst, groups * kSize);
    src += groups * kSize;
    dst += groups / kGroupsInBlock * kBytes;
    left -= groups;
  }
}

void DecodeMXFP4(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_mxfp4(src, dst, n);
  DecodeInBatches<kMxBytes, kMxBlock, DecodeMxBatch>(src, dst, n);
}
void DecodeNVFP4(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_nvfp4(src, dst, n);
  DecodeInBatches<kNvBytes, kNvBlock, DecodeNvBatch>(src, dst, n);
}
void EncodeMXFP4(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_mxfp4(src, dst, n);
  EncodeGroups<kMxBlock, 1, kMxBytes, EncodeMxLanes>(src, dst, n, scalar::encode_mxfp4);
}
void EncodeNVFP4(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_nvfp4(src, dst, n);
  EncodeGroups<kNvGroup, kNvGroups, kNvBytes, EncodeNvLanes>(src, dst, n, scalar::encode_nvfp4);
}

}  // namespace
}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(DecodeMXFP4);
HWY_EXPORT(EncodeMXFP4);
HWY_EXPORT(DecodeNVFP4);
HWY_EXPORT(EncodeNVFP4);

namespace kernels {

void decode_mxfp4(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeMXFP4)(src, dst, n); }
void decode_nvfp4(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeNVFP4)(src, dst, n); }
void encode_mxfp4(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeMXFP4)(src, dst, n); }
void encode_nvfp4(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeNVFP4)(src, dst, n); }

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
