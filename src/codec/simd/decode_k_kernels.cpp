#include "codec/simd/decode_k_kernels.hpp"

#include <cstdint>
#include <cstring>

#include "codec/scalar/k_quants.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/decode_k_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/unpack-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {
namespace {

// Every decoder takes as many bytes as there are lanes and follows them through the parts of the block that have bits
// in them. The small integer scales of a block come first, as bytes four to a word, and are multiplied together.

constexpr std::size_t kBlock = scalar::kSuperBlock;

/// The four bytes at `src`, the first lowest.
HWY_INLINE std::uint32_t LoadWord(const std::byte* src) {
  std::uint32_t word = 0;
  std::memcpy(&word, src, sizeof word);
  return word;
}

/// d · each of `count` small integers.
template <std::size_t kCount, typename Byte>
HWY_INLINE void ScaleSteps(const Byte* steps, float d, float* scales) {
  const hn::CappedTag<float, kCount> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<Byte, decltype(df)> db;
  for (std::size_t g = 0; g < kCount; g += hn::Lanes(df)) {
    const auto wide = hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(db, steps + g)));
    hn::Store(hn::Mul(hn::Set(df, d), wide), df, scales + g);
  }
}

/// The scales of up to 16 groups, and what is taken off.
struct Groups {
  HWY_ALIGN float scales[16];
  HWY_ALIGN float mins[16];
};

HWY_INLINE void DecodeQ2KBlock(const std::byte* src, float d, float dmin, float* dst) {
  const CodeF df;
  const CodeI di;
  const auto three = hn::Set(di, 3);
  Groups groups;
  HWY_ALIGN std::uint32_t steps[8];
  for (std::size_t w = 0; w < 4; ++w) {
    const std::uint32_t word = LoadWord(src + 4 * w);
    steps[w] = word & 0x0F0F0F0F;
    steps[w + 4] = word >> 4 & 0x0F0F0F0F;
  }
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(steps);
  ScaleSteps<16>(bytes, d, groups.scales);
  ScaleSteps<16>(bytes + 16, dmin, groups.mins);
  for (std::size_t half = 0; half < 2; ++half) {
    for (std::size_t l = 0; l < 32; l += hn::Lanes(df)) {
      auto codes = LoadBytes(src + 16 + 32 * half + l);
      for (std::size_t part = 0; part < 4; ++part) {
        const std::size_t g = 8 * half + 2 * part + l / 16;
        StoreLowered(hn::And(codes, three), hn::Set(df, groups.scales[g]), hn::Set(df, groups.mins[g]),
                     dst + 128 * half + 32 * part + l);
        codes = hn::ShiftRight<2>(codes);
      }
    }
  }
}

HWY_INLINE void DecodeQ3KBlock(const std::byte* src, float d, float* dst) {
  const CodeF df;
  const CodeI di;
  const auto three = hn::Set(di, 3), four = hn::Set(di, 4);
  HWY_ALIGN float scales[16];
  HWY_ALIGN std::uint32_t steps[4];
  const std::uint32_t high = LoadWord(src + 104);
  for (std::size_t w = 0; w < 4; ++w) {
    const std::uint32_t low = LoadWord(src + 96 + 4 * (w % 2)) >> (4 * (w / 2));
    steps[w] = (low & 0x0F0F0F0F) | (high >> (2 * w) & 0x03030303) << 4;
    steps[w] = (steps[w] + 0x60606060) ^ 0x80808080;  // 32 less in each byte: no carry leaves one on the way
  }
  ScaleSteps<16>(reinterpret_cast<const std::int8_t*>(steps), d, scales);
  for (std::size_t l = 0; l < 32; l += hn::Lanes(df)) {
    auto high_bits = hn::ShiftLeft<2>(LoadBytes(src + l));
    for (std::size_t half = 0; half < 2; ++half) {
      auto codes = LoadBytes(src + 32 + 32 * half + l);
      for (std::size_t part = 0; part < 4; ++part) {
        const auto code = hn::Or(hn::And(codes, three), hn::And(high_bits, four));
        StoreScaled(hn::Sub(code, four), hn::Set(df, scales[8 * half + 2 * part + l / 16]),
                    dst + 128 * half + 32 * part + l);
        codes = hn::ShiftRight<2>(codes);
        high_bits = hn::ShiftRight<1>(high_bits);
      }
    }
  }
}

/// Scales and offsets of the eight groups of Q4_K and Q5_K, from 12 bytes.
HWY_INLINE void LoadSixBits(const std::byte* src, float d, float dmin, Groups& groups) {
  const std::uint32_t a = LoadWord(src), b = LoadWord(src + 4), c = LoadWord(src + 8);
  HWY_ALIGN const std::uint32_t steps[4] = {
      a & 0x3F3F3F3F,
      (c & 0x0F0F0F0F) | (a >> 2 & 0x30303030),
      b & 0x3F3F3F3F,
      (c >> 4 & 0x0F0F0F0F) | (b >> 2 & 0x30303030),
  };
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(steps);
  ScaleSteps<8>(bytes, d, groups.scales);
  ScaleSteps<8>(bytes + 8, dmin, groups.mins);
}

HWY_INLINE void DecodeQ4KBlock(const std::byte* src, float d, float dmin, float* dst) {
  const CodeF df;
  Groups groups;
  LoadSixBits(src + 4, d, dmin, groups);
  for (std::size_t g = 0; g < 8; g += 2) {
    const auto scale0 = hn::Set(df, groups.scales[g]), min0 = hn::Set(df, groups.mins[g]);
    const auto scale1 = hn::Set(df, groups.scales[g + 1]), min1 = hn::Set(df, groups.mins[g + 1]);
    for (std::size_t l = 0; l < 32; l += hn::Lanes(df)) {
      const auto codes = LoadBytes(src + 16 + 16 * g + l);
      StoreLowered(hn::And(codes, hn::Set(CodeI(), 15)), scale0, min0, dst + 32 * g + l);
      StoreLowered(hn::ShiftRight<4>(codes), scale1, min1, dst + 32 * g + 32 + l);
    }
  }
}

HWY_INLINE void DecodeQ5KBlock(const std::byte* src, float d, float dmin, float* dst) {
  const CodeF df;
  const CodeI di;
  const auto fifteen = hn::Set(di, 15), sixteen = hn::Set(di, 16);
  Groups groups;
  LoadSixBits(src + 4, d, dmin, groups);
  for (std::size_t l = 0; l < 32; l += hn::Lanes(df)) {
    auto high_bits = hn::ShiftLeft<4>(LoadBytes(src + 16 + l));
    for (std::size_t g = 0; g < 8; g += 2) {
      const auto codes = LoadBytes(src + 48 + 16 * g + l);
      const auto low = hn::Or(hn::And(codes, fifteen), hn::And(high_bits, sixteen));
      const auto high = hn::Or(hn::ShiftRight<4>(codes), hn::And(hn::ShiftRight<1>(high_bits), sixteen));
      StoreLowered(low, hn::Set(df, groups.scales[g]), hn::Set(df, groups.mins[g]), dst + 32 * g + l);
      StoreLowered(high, hn::Set(df, groups.scales[g + 1]), hn::Set(df, groups.mins[g + 1]), dst + 32 * g + 32 + l);
      high_bits = hn::ShiftRight<2>(high_bits);
    }
  }
}

HWY_INLINE void DecodeQ6KBlock(const std::byte* src, float d, float* dst) {
  const CodeF df;
  const CodeI di;
  const auto fifteen = hn::Set(di, 15), upper = hn::Set(di, 0x30), middle = hn::Set(di, 32);
  HWY_ALIGN float scales[16];
  ScaleSteps<16>(reinterpret_cast<const std::int8_t*>(src + 192), d, scales);
  for (std::size_t half = 0; half < 2; ++half) {
    for (std::size_t l = 0; l < 32; l += hn::Lanes(df)) {
      const auto even = LoadBytes(src + 64 * half + l), odd = LoadBytes(src + 64 * half + 32 + l);
      const auto high = LoadBytes(src + 128 + 32 * half + l);
      const float* const scale = scales + 8 * half + l / 16;
      float* const to = dst + 128 * half + l;
      const auto code0 = hn::Or(hn::And(even, fifteen), hn::And(hn::ShiftLeft<4>(high), upper));
      const auto code1 = hn::Or(hn::And(odd, fifteen), hn::And(hn::ShiftLeft<2>(high), upper));
      const auto code2 = hn::Or(hn::ShiftRight<4>(even), hn::And(high, upper));
      const auto code3 = hn::Or(hn::ShiftRight<4>(odd), hn::And(hn::ShiftRight<2>(high), upper));
      StoreScaled(hn::Sub(code0, middle), hn::Set(df, scale[0]), to);
      StoreScaled(hn::Sub(code1, middle), hn::Set(df, scale[2]), to + 32);
      StoreScaled(hn::Sub(code2, middle), hn::Set(df, scale[4]), to + 64);
      StoreScaled(hn::Sub(code3, middle), hn::Set(df, scale[6]), to + 96);
    }
  }
}

/// Blocks with two factors, d at kAt and dmin after it.
template <std::size_t kBytes, std::size_t kAt, void (*kDecodeBlock)(const std::byte*, float, float, float*)>
void DecodeTwoFactors(const std::byte* src, float* dst, std::size_t blocks) {
  HWY_ALIGN float d[kBatch];
  HWY_ALIGN float dmin[kBatch];
  LoadScales(src + kAt, kBytes, blocks, d);
  LoadScales(src + kAt + 2, kBytes, blocks, dmin);
  for (std::size_t b = 0; b < blocks; ++b) kDecodeBlock(src + b * kBytes, d[b], dmin[b], dst + b * kBlock);
}

/// Blocks with one factor at kAt.
template <std::size_t kBytes, std::size_t kAt, void (*kDecodeBlock)(const std::byte*, float, float*)>
void DecodeOneFactor(const std::byte* src, float* dst, std::size_t blocks) {
  HWY_ALIGN float d[kBatch];
  LoadScales(src + kAt, kBytes, blocks, d);
  for (std::size_t b = 0; b < blocks; ++b) kDecodeBlock(src + b * kBytes, d[b], dst + b * kBlock);
}

void DecodeQ2K(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q2_k(src, dst, n);
  constexpr std::size_t kBytes = scalar::kQ2KBytes;
  DecodeInBatches<kBytes, kBlock, DecodeTwoFactors<kBytes, 80, DecodeQ2KBlock>>(src, dst, n);
}
void DecodeQ3K(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q3_k(src, dst, n);
  constexpr std::size_t kBytes = scalar::kQ3KBytes;
  DecodeInBatches<kBytes, kBlock, DecodeOneFactor<kBytes, 108, DecodeQ3KBlock>>(src, dst, n);
}
void DecodeQ4K(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q4_k(src, dst, n);
  constexpr std::size_t kBytes = scalar::kQ4KBytes;
  DecodeInBatches<kBytes, kBlock, DecodeTwoFactors<kBytes, 0, DecodeQ4KBlock>>(src, dst, n);
}
void DecodeQ5K(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q5_k(src, dst, n);
  constexpr std::size_t kBytes = scalar::kQ5KBytes;
  DecodeInBatches<kBytes, kBlock, DecodeTwoFactors<kBytes, 0, DecodeQ5KBlock>>(src, dst, n);
}
void DecodeQ6K(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q6_k(src, dst, n);
  constexpr std::size_t kBytes = scalar::kQ6KBytes;
  DecodeInBatches<kBytes, kBlock, DecodeOneFactor<kBytes, 208, DecodeQ6KBlock>>(src, dst, n);
}

}  // namespace
}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(DecodeQ2K);
HWY_EXPORT(DecodeQ3K);
HWY_EXPORT(DecodeQ4K);
HWY_EXPORT(DecodeQ5K);
HWY_EXPORT(DecodeQ6K);

namespace kernels {

void decode_q2_k(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ2K)(src, dst, n); }
void decode_q3_k(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ3K)(src, dst, n); }
void decode_q4_k(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ4K)(src, dst, n); }
void decode_q5_k(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ5K)(src, dst, n); }
void decode_q6_k(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ6K)(src, dst, n); }

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
