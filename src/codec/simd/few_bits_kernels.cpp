#include "codec/simd/few_bits_kernels.hpp"

#include <cstdint>
#include <cstring>

#include "codec/kernel.hpp"
#include "codec/scalar/few_bits.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/few_bits_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/float-inl.hpp"
#include "codec/simd/groups-inl.hpp"
#include "codec/simd/unpack-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {
namespace {

constexpr std::size_t kQ1Block = 128, kQ2Block = 64;
constexpr std::size_t kBytes = 18;  // of either: an F16 scale, and 16 bytes of codes

void DecodeQ1Batch(const std::byte* src, float* dst, std::size_t blocks) {
  const CodeF df;
  const CodeI di;
  HWY_ALIGN float scales[kBatch];
  LoadScales(src, kBytes, blocks, scales);
  for (std::size_t b = 0; b < blocks; ++b, src += kBytes, dst += kQ1Block) {
    const auto plus = hn::BitCast(di, hn::Set(df, scales[b]));
    const auto minus = hn::Xor(plus, hn::Set(di, INT32_MIN));
    for (std::size_t i = 0; i < kQ1Block; i += 32) {
      std::uint32_t word = 0;
      std::memcpy(&word, src + 2 + i / 8, sizeof word);
      for (std::size_t j = 0; j < 32; j += hn::Lanes(df)) {
        const auto bits = hn::And(hn::Set(di, static_cast<std::int32_t>(word >> j)), LaneBits());
        const auto number = hn::IfThenElse(hn::Eq(bits, hn::Zero(di)), minus, plus);
        hn::StoreU(hn::BitCast(df, number), df, dst + i + j);
      }
    }
  }
}

// Eight codes of two bits in a word: lane j keeps its own bits of it, which as a number are 4^j times the code.
HWY_ALIGN constexpr std::int32_t kPairOfBits[8] = {0x3, 0xC, 0x30, 0xC0, 0x300, 0xC00, 0x3000, 0xC000};
HWY_ALIGN constexpr float kUnits[8] = {1.0F, 0x1p-2F, 0x1p-4F, 0x1p-6F, 0x1p-8F, 0x1p-10F, 0x1p-12F, 0x1p-14F};

void DecodeQ2Batch(const std::byte* src, float* dst, std::size_t blocks) {
  const hn::CappedTag<float, 8> df;
  const hn::RebindToSigned<decltype(df)> di;
  const auto one = hn::Set(df, 1.0F);
  HWY_ALIGN float scales[kBatch];
  LoadScales(src, kBytes, blocks, scales);
  for (std::size_t b = 0; b < blocks; ++b, src += kBytes, dst += kQ2Block) {
    const auto d = hn::Set(df, scales[b]);
    for (std::size_t i = 0; i < kQ2Block; i += 8) {
      std::uint16_t word = 0;
      std::memcpy(&word, src + 2 + i / 4, sizeof word);
      for (std::size_t j = 0; j < 8; j += hn::Lanes(df)) {
        const auto bits = hn::And(hn::Set(di, std::int32_t{word}), hn::Load(di, kPairOfBits + j));
        const auto code = hn::Mul(hn::ConvertTo(df, bits), hn::Load(df, kUnits + j));
        hn::StoreU(hn::Mul(hn::Sub(code, one), d), df, dst + i + j);
      }
    }
  }
}

// Encoding, with a block in each lane.

/// d as F16, then four words of codes, for each block.
HWY_INLINE void StoreBlocks(hn::Vec<GroupF> d, const std::int32_t* rows, std::byte* dst, std::size_t blocks) {
  const GroupI di;
  const std::size_t lanes = hn::Lanes(di);
  HWY_ALIGN std::int32_t half[kMaxGroups];
  HWY_ALIGN std::int32_t words[4 * kMaxGroups];
  hn::Store(F16::Narrow(di, hn::BitCast(di, d)), di, half);
  hn::StoreInterleaved4(hn::Load(di, rows), hn::Load(di, rows + lanes), hn::Load(di, rows + 2 * lanes),
                        hn::Load(di, rows + 3 * lanes), di, words);
  for (std::size_t b = 0; b < blocks; ++b, dst += kBytes) {
    std::memcpy(dst, half + b, 2);  // the low half of a little-endian word
    std::memcpy(dst + 2, words + 4 * b, 16);
  }
}

/// The mean magnitude, summed in order, and the signs. Nothing can go wrong that doesn't in the reference.
HWY_INLINE bool EncodeQ1Lanes(const float* x, std::byte* dst, std::size_t blocks) {
  const GroupF df;
  const GroupI di;
  const std::size_t lanes = hn::Lanes(df);
  HWY_ALIGN std::int32_t rows[4 * kMaxGroups];
  auto sum = hn::Zero(df);
  for (std::size_t w = 0; w < 4; ++w) {
    auto word = hn::Zero(di);
    for (std::size_t i = 0; i < 32; ++i) {
      const auto number = hn::Load(df, x + (32 * w + i) * lanes);
      sum = hn::Add(sum, hn::Abs(number));
      const auto positive = hn::VecFromMask(di, hn::RebindMask(di, hn::Ge(number, hn::Zero(df))));
      word = hn::Or(word, hn::And(positive, hn::Set(di, static_cast<std::int32_t>(1U << i))));
    }
    hn::Store(word, di, rows + w * lanes);
  }
  StoreBlocks(hn::Mul(sum, hn::Set(df, 1.0F / kQ1Block)), rows, dst, blocks);
  return true;
}

/// The largest magnitude is the scale. False when some block holds NaN, infinity or numbers so small that the inverse
/// of the scale overflows: those are left to the scalar reference.
HWY_INLINE bool EncodeQ2Lanes(const float* x, std::byte* dst, std::size_t blocks) {
  const GroupF df;
  const GroupI di;
  const std::size_t lanes = hn::Lanes(df);
  auto most = hn::Zero(di);
  for (std::size_t i = 0; i < kQ2Block; ++i) {
    most = hn::Max(most, Magnitude(di, hn::BitCast(di, hn::Load(df, x + i * lanes))));
  }
  // From 2^-127 on the inverse is finite.
  const auto ordinary = hn::And(hn::Gt(most, hn::Set(di, 0x003FFFFF)), hn::Lt(most, hn::Set(di, 0x7F800000)));
  const auto zero = hn::Eq(most, hn::Zero(di));
  if (HWY_UNLIKELY(!hn::AllTrue(di, hn::Or(ordinary, zero)))) return false;

  const auto d = hn::BitCast(df, most);
  const auto inverse = hn::IfThenZeroElse(hn::RebindMask(df, zero), hn::Div(hn::Set(df, 1.0F), d));
  HWY_ALIGN std::int32_t rows[4 * kMaxGroups];
  for (std::size_t w = 0; w < 4; ++w) {
    auto word = hn::Zero(di);
    for (std::size_t i = 16; i-- != 0;) {
      const auto scaled = hn::Mul(hn::Load(df, x + (16 * w + i) * lanes), inverse);
      const auto up = hn::VecFromMask(di, hn::RebindMask(di, hn::Ge(scaled, hn::Set(df, 0.5F))));
      const auto down = hn::VecFromMask(di, hn::RebindMask(di, hn::Le(scaled, hn::Set(df, -0.5F))));
      word = hn::Add(hn::ShiftLeft<2>(word), hn::Sub(down, up));  // a true mask is −1
    }
    hn::Store(hn::Add(word, hn::Set(di, 0x55555555)), di, rows + w * lanes);  // the 1 of each code
  }
  StoreBlocks(d, rows, dst, blocks);
  return true;
}

using EncodeLanesFn = bool (*)(const float* x, std::byte* dst, std::size_t blocks);

/// As many blocks at a time as there are lanes.
template <std::size_t kSize, EncodeLanesFn kEncodeLanes>
HWY_INLINE void EncodeGroups(const float* src, std::byte* dst, std::size_t n, EncodeFn reference) {
  HWY_ALIGN float x[kSize * kMaxGroups];
  for (std::size_t left = n / kSize; left != 0;) {
    const std::size_t blocks = HWY_MIN(left, hn::Lanes(GroupF()));
    LoadGroups<kSize>(src, blocks, x);
    if (HWY_UNLIKELY(!kEncodeLanes(x, dst, blocks))) reference(src, dst, blocks * kSize);
    src += blocks * kSize;
    dst += blocks * kBytes;
    left -= blocks;
  }
}

void DecodeQ1_0(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q1_0(src, dst, n);
  DecodeInBatches<kBytes, kQ1Block, DecodeQ1Batch>(src, dst, n);
}
void DecodeQ2_0(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q2_0(src, dst, n);
  DecodeInBatches<kBytes, kQ2Block, DecodeQ2Batch>(src, dst, n);
}
void EncodeQ1_0(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q1_0(src, dst, n);
  EncodeGroups<kQ1Block, EncodeQ1Lanes>(src, dst, n, scalar::encode_q1_0);
}
void EncodeQ2_0(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q2_0(src, dst, n);
  EncodeGroups<kQ2Block, EncodeQ2Lanes>(src, dst, n, scalar::encode_q2_0);
}

}  // namespace
}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(DecodeQ1_0);
HWY_EXPORT(EncodeQ1_0);
HWY_EXPORT(DecodeQ2_0);
HWY_EXPORT(EncodeQ2_0);

namespace kernels {

void decode_q1_0(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ1_0)(src, dst, n); }
void decode_q2_0(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ2_0)(src, dst, n); }
void encode_q1_0(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ1_0)(src, dst, n); }
void encode_q2_0(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ2_0)(src, dst, n); }

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
