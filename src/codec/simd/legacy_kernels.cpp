#include "codec/simd/legacy_kernels.hpp"

#include <cstdint>
#include <cstring>
#include <limits>

#include "codec/scalar/legacy.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/legacy_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/float-inl.hpp"
#include "codec/simd/groups-inl.hpp"
#include "codec/simd/unpack-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {
namespace {

constexpr std::size_t kBlock = scalar::kLegacyBlock;

// Q8_0 is encoded along its blocks, a batch at a time, in three passes over numbers that stay in the first-level cache:
// the largest magnitude of each block, then the scales with one block in each lane (divisions are slow, but 16 cost as
// much as one), then the codes.

struct Scales {
  HWY_ALIGN std::int32_t largest[kBatch];  // in: the block's largest magnitude, as bits of float32
  HWY_ALIGN float inverse[kBatch];         // out: 1 / d, or 0
  HWY_ALIGN std::uint16_t half[kBatch];    // out: d as F16
};

/// The largest magnitude of a block, as bits: in that order NaN comes above infinity, so it isn't missed.
HWY_INLINE std::int32_t LargestMagnitude(const float* block) {
  const CodeF df;
  const CodeI di;
  auto most = Magnitude(di, hn::BitCast(di, hn::LoadU(df, block)));
  for (std::size_t j = hn::Lanes(df); j < kBlock; j += hn::Lanes(df)) {
    most = hn::Max(most, Magnitude(di, hn::BitCast(di, hn::LoadU(df, block + j))));
  }
  return hn::GetLane(hn::MaxOfLanes(di, most));
}

/// d = largest / 127 and its inverse for every block of a batch. True when some block holds NaN or infinity, or
/// numbers so small that 1 / d overflows: those are left to the scalar reference.
HWY_INLINE bool ComputeScales(Scales& scales, std::size_t blocks) {
  const CodeF df;
  const CodeI di;
  const hn::Rebind<std::uint16_t, CodeF> dh;
  auto worst = hn::Zero(di);
  for (std::size_t b = 0; b < blocks; b += hn::Lanes(df)) {
    const auto magnitude = hn::Load(di, scales.largest + b);
    const auto d = hn::Div(hn::BitCast(df, magnitude), hn::Set(df, 127.0F));
    const auto inverse = hn::IfThenZeroElse(hn::Eq(d, hn::Zero(df)), hn::Div(hn::Set(df, 1.0F), d));
    worst = hn::Max(worst, hn::Max(magnitude, Magnitude(di, hn::BitCast(di, inverse))));
    hn::Store(inverse, df, scales.inverse + b);
    hn::Store(hn::DemoteTo(dh, F16::Narrow(di, hn::BitCast(di, d))), dh, scales.half + b);
  }
  return hn::GetLane(hn::MaxOfLanes(di, worst)) >= 0x7F800000;
}

/// Codes of Q8_0: the nearest integer, half away from zero.
HWY_INLINE void StoreQ8Codes(const float* block, float inverse, std::byte* dst) {
  const CodeF df;
  const CodeI di;
  const SignedCodeBytes db;
  const auto scale = hn::Set(df, inverse);
  // The largest number below a half: adding a half itself would carry 0.49999997 up to 1.
  const auto nearly_half = hn::Set(df, 0.49999997F);
  for (std::size_t j = 0; j < kBlock; j += hn::Lanes(df)) {
    const auto scaled = hn::Mul(hn::LoadU(df, block + j), scale);
    const auto rounded = hn::ConvertTo(di, hn::Add(scaled, hn::CopySignToAbs(nearly_half, scaled)));
    hn::StoreU(hn::DemoteTo(db, rounded), db, reinterpret_cast<std::int8_t*>(dst + j));
  }
}

void EncodeQ8_0(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q8_0(src, dst, n);
  Scales scales = {};
  for (std::size_t left = n / kBlock; left != 0;) {
    const std::size_t blocks = HWY_MIN(left, kBatch);
    for (std::size_t b = 0; b < blocks; ++b) scales.largest[b] = LargestMagnitude(src + b * kBlock);
    if (HWY_UNLIKELY(ComputeScales(scales, blocks))) {
      scalar::encode_q8_0(src, dst, blocks * kBlock);
    } else {
      for (std::size_t b = 0; b < blocks; ++b) {
        std::byte* const block = dst + b * scalar::kQ8_0Bytes;
        std::memcpy(block, scales.half + b, 2);
        StoreQ8Codes(src + b * kBlock, scales.inverse[b], block + 2);
      }
    }
    src += blocks * kBlock;
    dst += blocks * scalar::kQ8_0Bytes;
    left -= blocks;
  }
}

// The other types are encoded with a block in each lane, every lane doing what the reference does with its block.

/// What a block in each lane is scaled by: code = (number − base) · inverse + a half, or the like.
struct Fit {
  HWY_ALIGN float base[kMaxGroups];
  HWY_ALIGN float inverse[kMaxGroups];
  HWY_ALIGN std::int32_t d[kMaxGroups];  ///< as F16
  HWY_ALIGN std::int32_t m[kMaxGroups];  ///< as F16
};

/// Sets `inverse` and `d`. False when an inverse overflows, which those of the smallest numbers do.
HWY_INLINE bool SetScale(hn::Vec<GroupF> d, Fit& fit) {
  const GroupF df;
  const GroupI di;
  const auto inverse = hn::IfThenZeroElse(hn::Eq(d, hn::Zero(df)), hn::Div(hn::Set(df, 1.0F), d));
  hn::Store(inverse, df, fit.inverse);
  hn::Store(F16::Narrow(di, hn::BitCast(di, d)), di, fit.d);
  return hn::AllTrue(df, hn::Lt(hn::Abs(inverse), hn::Set(df, std::numeric_limits<float>::infinity())));
}

/// d = the first number of the largest magnitude / divisor. False when some block holds NaN, infinity or numbers so
/// small that the inverse of d overflows: those are left to the scalar reference. So below.
HWY_INLINE bool FitLargest(const float* x, float divisor, Fit& fit) {
  const GroupF df;
  const GroupI di;
  auto most = hn::Zero(di), largest = hn::Zero(di);
  for (std::size_t i = 0; i < kBlock; ++i) {
    const auto bits = hn::BitCast(di, hn::Load(df, x + i * hn::Lanes(df)));
    const auto magnitude = Magnitude(di, bits);
    largest = hn::IfThenElse(hn::Gt(magnitude, most), bits, largest);
    most = hn::Max(most, magnitude);
  }
  const bool finite = hn::AllTrue(di, hn::Lt(most, hn::Set(di, 0x7F800000)));
  return SetScale(hn::Div(hn::BitCast(df, largest), hn::Set(df, divisor)), fit) && finite;
}

/// d = (highest − lowest) / steps, m = lowest; of zeros the first is the lowest, whatever its sign.
HWY_INLINE bool FitEnds(const float* x, float steps, Fit& fit) {
  const GroupF df;
  const GroupI di;
  auto low = hn::Load(df, x), high = low, sum = low;
  for (std::size_t i = 1; i < kBlock; ++i) {
    const auto number = hn::Load(df, x + i * hn::Lanes(df));
    low = hn::IfThenElse(hn::Lt(number, low), number, low);
    high = hn::IfThenElse(hn::Gt(number, high), number, high);
    sum = hn::Add(sum, number);  // shows NaN, which the ends may not
  }
  hn::Store(low, df, fit.base);
  hn::Store(F16::Narrow(di, hn::BitCast(di, low)), di, fit.m);
  const auto d = hn::Div(hn::Sub(high, low), hn::Set(df, steps));
  const auto size = hn::Max(Magnitude(di, hn::BitCast(di, sum)), Magnitude(di, hn::BitCast(di, d)));
  return SetScale(d, fit) && hn::AllTrue(di, hn::Lt(size, hn::Set(di, 0x7F800000)));
}

/// The codes of four numbers that follow each other, a byte each.
template <int kBits, bool kOffset>
HWY_INLINE hn::Vec<GroupI> FourCodes(const float* x, const Fit& fit) {
  const GroupF df;
  const GroupI di;
  const auto inverse = hn::Load(df, fit.inverse);
  const auto half = hn::Set(df, kOffset ? 0.5F : static_cast<float>(1 << (kBits - 1)) + 0.5F);
  auto codes = hn::Zero(di);
  for (std::size_t i = 4; i-- != 0;) {
    auto number = hn::Load(df, x + i * hn::Lanes(df));
    if constexpr (kOffset) number = hn::Sub(number, hn::Load(df, fit.base));
    const auto code = hn::ConvertTo(di, hn::Add(hn::Mul(number, inverse), half));
    codes = hn::Or(hn::ShiftLeft<8>(codes), hn::Min(code, hn::Set(di, (1 << kBits) - 1)));
  }
  return codes;
}

/// Bits 4, 12, 20 and 28 brought together in bits 0 to 3.
HWY_INLINE hn::Vec<GroupI> FifthBits(hn::Vec<GroupI> codes) {
  const GroupI di;
  const hn::RebindToUnsigned<GroupI> du;
  const auto bits = hn::And(hn::BitCast(du, codes), hn::Set(du, 0x10101010U));
  // Each of the four meets its own power of two; what else the product holds is below bit 28 or beyond the word.
  return hn::BitCast(di, hn::ShiftRight<28>(hn::Mul(bits, hn::Set(du, 0x01020408U))));
}

/// The codes of a block in each lane, as the words they are stored in.
struct Words {
  HWY_ALIGN std::int32_t fifth[kMaxGroups];
  HWY_ALIGN std::int32_t nibbles[4 * kMaxGroups];  ///< four words of a block follow each other
};

template <int kBits, bool kOffset>
HWY_INLINE void PackCodes(const float* x, const Fit& fit, Words& words) {
  const GroupI di;
  const std::size_t lanes = hn::Lanes(di);
  const auto nibble = hn::Set(di, 0x0F0F0F0F);
  auto fifth_low = hn::Zero(di), fifth_high = hn::Zero(di);
  HWY_ALIGN std::int32_t rows[4 * kMaxGroups];
  for (std::size_t w = 4; w-- != 0;) {
    const auto low = FourCodes<kBits, kOffset>(x + 4 * w * lanes, fit);
    const auto high = FourCodes<kBits, kOffset>(x + (4 * w + kBlock / 2) * lanes, fit);
    hn::Store(hn::Or(hn::And(low, nibble), hn::ShiftLeft<4>(hn::And(high, nibble))), di, rows + w * lanes);
    if constexpr (kBits == 5) {
      fifth_low = hn::Or(hn::ShiftLeft<4>(fifth_low), FifthBits(low));
      fifth_high = hn::Or(hn::ShiftLeft<4>(fifth_high), FifthBits(high));
    }
  }
  hn::Store(hn::Or(fifth_low, hn::ShiftLeft<16>(fifth_high)), di, words.fifth);
  hn::StoreInterleaved4(hn::Load(di, rows), hn::Load(di, rows + lanes), hn::Load(di, rows + 2 * lanes),
                        hn::Load(di, rows + 3 * lanes), di, words.nibbles);
}

template <int kBits, bool kOffset>
HWY_INLINE void StoreBlocks(const Fit& fit, const Words& words, std::byte* dst, std::size_t blocks) {
  for (std::size_t b = 0; b < blocks; ++b) {
    std::memcpy(dst, fit.d + b, 2);  // the low half of a little-endian word
    dst += 2;
    if constexpr (kOffset) {
      std::memcpy(dst, fit.m + b, 2);
      dst += 2;
    }
    if constexpr (kBits == 5) {
      std::memcpy(dst, words.fifth + b, 4);
      dst += 4;
    }
    std::memcpy(dst, words.nibbles + 4 * b, 16);
    dst += 16;
  }
}

template <int kBits, bool kOffset>
HWY_INLINE void EncodeAcross(const float* src, std::byte* dst, std::size_t n, EncodeFn reference) {
  constexpr std::size_t kBytes = 2 + (kOffset ? 2 : 0) + (kBits == 5 ? 4 : 0) + 16;
  constexpr float kDivisor = kOffset ? (1 << kBits) - 1 : -(1 << (kBits - 1));
  HWY_ALIGN float x[kBlock * kMaxGroups];
  Fit fit;
  Words words;
  for (std::size_t left = n / kBlock; left != 0;) {
    const std::size_t blocks = HWY_MIN(left, hn::Lanes(GroupF()));
    LoadGroups<kBlock>(src, blocks, x);
    if (HWY_LIKELY(kOffset ? FitEnds(x, kDivisor, fit) : FitLargest(x, kDivisor, fit))) {
      PackCodes<kBits, kOffset>(x, fit, words);
      StoreBlocks<kBits, kOffset>(fit, words, dst, blocks);
    } else {
      reference(src, dst, blocks * kBlock);
    }
    src += blocks * kBlock;
    dst += blocks * kBytes;
    left -= blocks;
  }
}

void EncodeQ4_0(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q4_0(src, dst, n);
  EncodeAcross<4, false>(src, dst, n, scalar::encode_q4_0);
}
void EncodeQ4_1(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q4_1(src, dst, n);
  EncodeAcross<4, true>(src, dst, n, scalar::encode_q4_1);
}
void EncodeQ5_0(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q5_0(src, dst, n);
  EncodeAcross<5, false>(src, dst, n, scalar::encode_q5_0);
}
void EncodeQ5_1(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q5_1(src, dst, n);
  EncodeAcross<5, true>(src, dst, n, scalar::encode_q5_1);
}
/// The codes of a block: the fifth bits, where there are any, in four bytes, then numbers j and j + 16 in byte j.
class Nibbles {
 public:
  HWY_INLINE Nibbles(const std::byte* src, bool fifth_bit) : bytes_(src + (fifth_bit ? 4 : 0)) {
    if (fifth_bit) std::memcpy(&fifth_, src, sizeof fifth_);
  }
  /// The codes of numbers j, j + 1, …
  template <bool kFifthBit>
  HWY_INLINE hn::Vec<CodeI> Low(std::size_t j) const {
    const auto codes = hn::And(LoadBytes(bytes_ + j), hn::Set(CodeI(), 15));
    return kFifthBit ? AddWhereSet(codes, fifth_ >> j, 16) : codes;
  }
  /// The codes of numbers j + 16, j + 17, …
  template <bool kFifthBit>
  HWY_INLINE hn::Vec<CodeI> High(std::size_t j) const {
    const auto codes = hn::ShiftRight<4>(LoadBytes(bytes_ + j));
    return kFifthBit ? AddWhereSet(codes, fifth_ >> (j + kBlock / 2), 16) : codes;
  }

 private:
  const std::byte* bytes_;
  std::uint32_t fifth_ = 0;
};

void DecodeQ8_0Batch(const std::byte* src, float* dst, std::size_t blocks) {
  const CodeF df;
  HWY_ALIGN float scales[kBatch];
  LoadScales(src, scalar::kQ8_0Bytes, blocks, scales);
  for (std::size_t b = 0; b < blocks; ++b, src += scalar::kQ8_0Bytes, dst += kBlock) {
    const auto d = hn::Set(df, scales[b]);
    const auto* const codes = reinterpret_cast<const std::int8_t*>(src + 2);
    for (std::size_t j = 0; j < kBlock; j += hn::Lanes(df)) StoreScaled(LoadSignedBytes(codes + j), d, dst + j);
  }
}

/// Codes of four or five bits about zero.
template <std::size_t kBytes, bool kFifthBit>
void DecodeCentredBatch(const std::byte* src, float* dst, std::size_t blocks) {
  const CodeF df;
  const CodeI di;
  const auto middle = hn::Set(di, kFifthBit ? 16 : 8);
  HWY_ALIGN float scales[kBatch];
  LoadScales(src, kBytes, blocks, scales);
  for (std::size_t b = 0; b < blocks; ++b, src += kBytes, dst += kBlock) {
    const auto d = hn::Set(df, scales[b]);
    const Nibbles nibbles(src + 2, kFifthBit);
    for (std::size_t j = 0; j < kBlock / 2; j += hn::Lanes(df)) {
      StoreScaled(hn::Sub(nibbles.Low<kFifthBit>(j), middle), d, dst + j);
      StoreScaled(hn::Sub(nibbles.High<kFifthBit>(j), middle), d, dst + kBlock / 2 + j);
    }
  }
}

/// Codes of four or five bits above an offset. Where both scale and offset are NaN it is the compiler's choice which of
/// them a sum keeps, so odd ones are left to the scalar reference.
template <std::size_t kBytes, bool kFifthBit, DecodeFn kReference>
void DecodeRaisedBatch(const std::byte* src, float* dst, std::size_t blocks) {
  const CodeF df;
  HWY_ALIGN float scales[kBatch];
  HWY_ALIGN float offsets[kBatch];
  LoadScales(src, kBytes, blocks, scales);
  LoadScales(src + 2, kBytes, blocks, offsets);
  if (HWY_UNLIKELY(!AllFinite(scales, blocks) || !AllFinite(offsets, blocks))) {
    return kReference(src, dst, blocks * kBlock);
  }
  for (std::size_t b = 0; b < blocks; ++b, src += kBytes, dst += kBlock) {
    const auto d = hn::Set(df, scales[b]), m = hn::Set(df, offsets[b]);
    const Nibbles nibbles(src + 4, kFifthBit);
    for (std::size_t j = 0; j < kBlock / 2; j += hn::Lanes(df)) {
      StoreRaised(nibbles.Low<kFifthBit>(j), d, m, dst + j);
      StoreRaised(nibbles.High<kFifthBit>(j), d, m, dst + kBlock / 2 + j);
    }
  }
}

void DecodeQ8_0(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q8_0(src, dst, n);
  DecodeInBatches<scalar::kQ8_0Bytes, kBlock, DecodeQ8_0Batch>(src, dst, n);
}
void DecodeQ4_0(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q4_0(src, dst, n);
  DecodeInBatches<scalar::kQ4_0Bytes, kBlock, DecodeCentredBatch<scalar::kQ4_0Bytes, false>>(src, dst, n);
}
void DecodeQ5_0(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q5_0(src, dst, n);
  DecodeInBatches<scalar::kQ5_0Bytes, kBlock, DecodeCentredBatch<scalar::kQ5_0Bytes, true>>(src, dst, n);
}
void DecodeQ4_1(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q4_1(src, dst, n);
  constexpr std::size_t kBytes = scalar::kQ4_1Bytes;
  DecodeInBatches<kBytes, kBlock, DecodeRaisedBatch<kBytes, false, scalar::decode_q4_1>>(src, dst, n);
}
void DecodeQ5_1(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q5_1(src, dst, n);
  constexpr std::size_t kBytes = scalar::kQ5_1Bytes;
  DecodeInBatches<kBytes, kBlock, DecodeRaisedBatch<kBytes, true, scalar::decode_q5_1>>(src, dst, n);
}

}  // namespace
}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(EncodeQ8_0);
HWY_EXPORT(DecodeQ8_0);
HWY_EXPORT(EncodeQ4_0);
HWY_EXPORT(DecodeQ4_0);
HWY_EXPORT(EncodeQ4_1);
HWY_EXPORT(DecodeQ4_1);
HWY_EXPORT(EncodeQ5_0);
HWY_EXPORT(DecodeQ5_0);
HWY_EXPORT(EncodeQ5_1);
HWY_EXPORT(DecodeQ5_1);

namespace kernels {

void encode_q8_0(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ8_0)(src, dst, n); }
void encode_q4_0(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ4_0)(src, dst, n); }
void encode_q4_1(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ4_1)(src, dst, n); }
void encode_q5_0(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ5_0)(src, dst, n); }
void encode_q5_1(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ5_1)(src, dst, n); }
void decode_q8_0(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ8_0)(src, dst, n); }
void decode_q4_0(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ4_0)(src, dst, n); }
void decode_q4_1(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ4_1)(src, dst, n); }
void decode_q5_0(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ5_0)(src, dst, n); }
void decode_q5_1(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ5_1)(src, dst, n); }

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
