#include "codec/simd/decode_iq_kernels.hpp"

#include <cstdint>
#include <type_traits>

#include "codec/kernel.hpp"
#include "codec/scalar/float_layout.hpp"
#include "codec/scalar/floats.hpp"
#include "codec/scalar/iq.hpp"
#include "codec/scalar/iq4.hpp"
#include "codec/simd/iq_tables.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/decode_iq_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/unpack-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {
namespace {

using kernels::IqTables;
using scalar::load;

constexpr std::size_t kBlock = 256;
constexpr std::size_t kGroups = 8, kGroup = kBlock / kGroups;
constexpr std::size_t kIQ1MBytes = 56;

// Eight numbers at a time: a point of a grid, or two of four.
using EightF = hn::CappedTag<float, 8>;
using EightI = hn::RebindToSigned<EightF>;

HWY_INLINE unsigned ByteAt(const std::byte* at) { return std::to_integer<unsigned>(*at); }

/// Numbers j, j + 1, … of eight signed bytes in a word, as many as there are lanes.
HWY_INLINE hn::Vec<EightF> Spread(std::uint64_t bytes, std::size_t j) {
  const hn::Rebind<std::int8_t, EightF> db;
  using Word = std::conditional_t<hn::MaxLanes(EightF()) == 8, std::uint64_t, std::uint32_t>;
  const hn::Repartition<Word, decltype(db)> dw;
  const auto codes = hn::BitCast(db, hn::Set(dw, static_cast<Word>(bytes >> (8 * j))));
  return hn::ConvertTo(EightF(), hn::PromoteTo(EightI(), codes));
}

/// d · each of eight levels with its sign. No level is 0, so that none of the bytes' negations carries into the next.
HWY_INLINE void StorePoint(std::uint64_t levels, std::uint64_t signs, float d, float* dst) {
  const EightF df;
  const std::uint64_t bytes = (levels ^ signs) + (signs & 0x0101010101010101U);
  for (std::size_t j = 0; j < 8; j += hn::Lanes(df)) {
    hn::StoreU(hn::Mul(hn::Set(df, d), Spread(bytes, j)), df, dst + j);
  }
}

/// d · (each of eight levels ± 1/8)
HWY_INLINE void StoreShifted(std::uint64_t levels, bool down, float d, float* dst) {
  const EightF df;
  const auto shift = hn::Set(df, down ? -0.125F : 0.125F);
  for (std::size_t j = 0; j < 8; j += hn::Lanes(df)) {
    hn::StoreU(hn::Mul(hn::Set(df, d), hn::Add(Spread(levels, j), shift)), df, dst + j);
  }
}

HWY_INLINE std::uint64_t TwoPoints(std::uint32_t first, std::uint32_t second) {
  return first | std::uint64_t{second} << 32;
}

/// d (s + ½) · unit
HWY_INLINE float HalfStep(float d, unsigned s, float unit) { return d * (0.5F + static_cast<float>(s)) * unit; }
/// d (2s + 1)
HWY_INLINE float OddStep(float d, unsigned s) { return d * static_cast<float>(2 * s + 1); }

HWY_INLINE void DecodeIQ2XXSBlock(const IqTables& tables, const std::byte* src, float d, float* dst) {
  const std::byte* group = src + 2;
  for (std::size_t g = 0; g < kGroups; ++g, group += 8, dst += kGroup) {
    const auto rest = load<std::uint32_t>(group + 4);
    const float step = HalfStep(d, rest >> 28, 0.25F);
    for (std::size_t k = 0; k < 4; ++k) {
      StorePoint(tables.iq2_xxs[ByteAt(group + k)], tables.seven_signs[rest >> (7 * k) & 127], step, dst + 8 * k);
    }
  }
}

HWY_INLINE void DecodeIQ2XSBlock(const IqTables& tables, const std::byte* src, float d, float* dst) {
  for (std::size_t g = 0; g < kGroups; ++g, dst += kGroup) {
    const unsigned scales = ByteAt(src + 66 + g);
    const float steps[] = {HalfStep(d, scales & 15, 0.25F), HalfStep(d, scales >> 4, 0.25F)};
    for (std::size_t k = 0; k < 4; ++k) {
      const unsigned point = load<std::uint16_t>(src + 2 + 8 * g + 2 * k);
      StorePoint(tables.iq2_xs[point & 511], tables.seven_signs[point >> 9], steps[k / 2], dst + 8 * k);
    }
  }
}

HWY_INLINE void DecodeIQ2SBlock(const IqTables& tables, const std::byte* src, float d, float* dst) {
  for (std::size_t g = 0; g < kGroups; ++g, dst += kGroup) {
    const unsigned high = ByteAt(src + 66 + g), scales = ByteAt(src + 74 + g);
    const float steps[] = {HalfStep(d, scales & 15, 0.25F), HalfStep(d, scales >> 4, 0.25F)};
    for (std::size_t k = 0; k < 4; ++k) {
      const unsigned point = ByteAt(src + 2 + 4 * g + k) | (high >> (2 * k) & 3) << 8;
      StorePoint(tables.iq2_s[point], tables.eight_signs[ByteAt(src + 34 + 4 * g + k)], steps[k / 2], dst + 8 * k);
    }
  }
}

HWY_INLINE void DecodeIQ3XXSBlock(const IqTables& tables, const std::byte* src, float d, float* dst) {
  const std::byte* points = src + 2;
  for (std::size_t g = 0; g < kGroups; ++g, points += 8, dst += kGroup) {
    const auto rest = load<std::uint32_t>(src + 66 + 4 * g);
    const float step = HalfStep(d, rest >> 28, 0.5F);
    for (std::size_t k = 0; k < 4; ++k) {
      const auto both = TwoPoints(tables.iq3_xxs[ByteAt(points + 2 * k)], tables.iq3_xxs[ByteAt(points + 2 * k + 1)]);
      StorePoint(both, tables.seven_signs[rest >> (7 * k) & 127], step, dst + 8 * k);
    }
  }
}

HWY_INLINE void DecodeIQ3SBlock(const IqTables& tables, const std::byte* src, float d, float* dst) {
  const std::byte* points = src + 2;
  for (std::size_t g = 0; g < kGroups; ++g, points += 8, dst += kGroup) {
    const unsigned high = ByteAt(src + 66 + g);
    const float step = OddStep(d, ByteAt(src + 106 + g / 2) >> (4 * (g % 2)) & 15);
    for (std::size_t k = 0; k < 4; ++k) {
      const unsigned first = ByteAt(points + 2 * k) | (high >> (2 * k) & 1) << 8;
      const unsigned second = ByteAt(points + 2 * k + 1) | (high >> (2 * k + 1) & 1) << 8;
      const unsigned signs = ByteAt(src + 74 + 4 * g + k);
      StorePoint(TwoPoints(tables.iq3_s[first], tables.iq3_s[second]), tables.eight_signs[signs], step, dst + 8 * k);
    }
  }
}

HWY_INLINE void DecodeIQ1SBlock(const IqTables& tables, const std::byte* src, float d, float* dst) {
  const std::byte* points = src + 2;
  for (std::size_t g = 0; g < kGroups; ++g, points += 4, dst += kGroup) {
    const unsigned rest = load<std::uint16_t>(src + 34 + 2 * g);
    const float step = OddStep(d, rest >> 12 & 7);
    for (std::size_t k = 0; k < 4; ++k) {
      const unsigned point = ByteAt(points + k) | (rest >> (3 * k) & 7) << 8;
      StoreShifted(tables.iq1[point], rest >> 15 != 0, step, dst + 8 * k);
    }
  }
}

HWY_INLINE void DecodeIQ1MBlock(const IqTables& tables, const std::byte* src, float d, float* dst) {
  for (std::size_t g = 0; g < kGroups; ++g, dst += kGroup) {
    const unsigned scales = load<std::uint16_t>(src + 48 + g / 2 * 2) >> (6 * (g % 2));
    const unsigned rest = load<std::uint16_t>(src + 32 + 2 * g);
    const float steps[] = {OddStep(d, scales & 7), OddStep(d, scales >> 3 & 7)};
    for (std::size_t k = 0; k < 4; ++k) {
      const unsigned four = rest >> (4 * k);
      StoreShifted(tables.iq1[ByteAt(src + 4 * g + k) | (four & 7) << 8], (four & 8) != 0, steps[k / 2], dst + 8 * k);
    }
  }
}

/// Blocks that begin with their scale. A NaN is left to the scalar reference, which gives it the numbers' signs.
template <std::size_t kBytes, void (*kDecodeBlock)(const IqTables&, const std::byte*, float, float*),
          DecodeFn kReference>
void DecodeScaleFirst(const std::byte* src, float* dst, std::size_t blocks) {
  const IqTables& tables = kernels::iq_tables();
  HWY_ALIGN float d[kBatch];
  LoadScales(src, kBytes, blocks, d);
  for (std::size_t b = 0; b < blocks; ++b, src += kBytes, dst += kBlock) {
    if (HWY_LIKELY(d[b] == d[b])) {
      kDecodeBlock(tables, src, d[b], dst);
    } else {
      kReference(src, dst, kBlock);
    }
  }
}

void DecodeIQ1MBatch(const std::byte* src, float* dst, std::size_t blocks) {
  const IqTables& tables = kernels::iq_tables();
  for (std::size_t b = 0; b < blocks; ++b, src += kIQ1MBytes, dst += kBlock) {
    const auto words = load<std::uint64_t>(src + 48);
    const std::uint64_t half =
        (words >> 12 & 15) | (words >> 24 & 0xF0) | (words >> 36 & 0xF00) | (words >> 48 & 0xF000);
    DecodeIQ1MBlock(tables, src, scalar::f16_to_f32(static_cast<std::uint16_t>(half)), dst);
  }
}

// IQ4: codes that stand for values. The values are bytes, and a vector of 16 holds them all.

HWY_ALIGN constexpr std::int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                  1,    13,   25,  38,  53,  69,  89,  113};

/// scale · the values of 32 codes in 16 bytes, the second half in the high nibbles.
HWY_INLINE void DecodeIQ4Group(const std::byte* src, float scale, float* dst) {
  HWY_ALIGN std::int8_t values[32];
  LookUpNibbles(src, kIQ4Values, values);
  const CodeF df;
  for (std::size_t j = 0; j < 32; j += hn::Lanes(df)) {
    StoreScaled(LoadSignedBytes(values + j), hn::Set(df, scale), dst + j);
  }
}

void DecodeIQ4NLBatch(const std::byte* src, float* dst, std::size_t blocks) {
  HWY_ALIGN float d[kBatch];
  LoadScales(src, scalar::kIq4NlBytes, blocks, d);
  for (std::size_t b = 0; b < blocks; ++b) {
    DecodeIQ4Group(src + b * scalar::kIq4NlBytes + 2, d[b], dst + b * scalar::kIq4NlBlock);
  }
}

void DecodeIQ4XSBatch(const std::byte* src, float* dst, std::size_t blocks) {
  HWY_ALIGN float d[kBatch];
  LoadScales(src, scalar::kIq4XsBytes, blocks, d);
  for (std::size_t b = 0; b < blocks; ++b, src += scalar::kIq4XsBytes) {
    const auto low = load<std::uint32_t>(src + 4);
    const unsigned high = load<std::uint16_t>(src + 2);
    for (std::size_t g = 0; g < kGroups; ++g, dst += kGroup) {
      const unsigned biased = (low >> (4 * g) & 15) | (high >> (2 * g) & 3) << 4;
      const float scale = d[b] * static_cast<float>(static_cast<std::int32_t>(biased) - 32);
      DecodeIQ4Group(src + 8 + 16 * g, scale, dst);
    }
  }
}

void DecodeIQ1S(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_iq1_s(src, dst, n);
  DecodeInBatches<50, kBlock, DecodeScaleFirst<50, DecodeIQ1SBlock, scalar::decode_iq1_s>>(src, dst, n);
}
void DecodeIQ1M(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_iq1_m(src, dst, n);
  DecodeInBatches<kIQ1MBytes, kBlock, DecodeIQ1MBatch>(src, dst, n);
}
void DecodeIQ2XXS(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_iq2_xxs(src, dst, n);
  DecodeInBatches<66, kBlock, DecodeScaleFirst<66, DecodeIQ2XXSBlock, scalar::decode_iq2_xxs>>(src, dst, n);
}
void DecodeIQ2XS(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_iq2_xs(src, dst, n);
  DecodeInBatches<74, kBlock, DecodeScaleFirst<74, DecodeIQ2XSBlock, scalar::decode_iq2_xs>>(src, dst, n);
}
void DecodeIQ2S(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_iq2_s(src, dst, n);
  DecodeInBatches<82, kBlock, DecodeScaleFirst<82, DecodeIQ2SBlock, scalar::decode_iq2_s>>(src, dst, n);
}
void DecodeIQ3XXS(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_iq3_xxs(src, dst, n);
  DecodeInBatches<98, kBlock, DecodeScaleFirst<98, DecodeIQ3XXSBlock, scalar::decode_iq3_xxs>>(src, dst, n);
}
void DecodeIQ3S(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_iq3_s(src, dst, n);
  DecodeInBatches<110, kBlock, DecodeScaleFirst<110, DecodeIQ3SBlock, scalar::decode_iq3_s>>(src, dst, n);
}
void DecodeIQ4NL(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_iq4_nl(src, dst, n);
  DecodeInBatches<scalar::kIq4NlBytes, scalar::kIq4NlBlock, DecodeIQ4NLBatch>(src, dst, n);
}
void DecodeIQ4XS(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_iq4_xs(src, dst, n);
  DecodeInBatches<scalar::kIq4XsBytes, kBlock, DecodeIQ4XSBatch>(src, dst, n);
}

}  // namespace
}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(DecodeIQ1S);
HWY_EXPORT(DecodeIQ1M);
HWY_EXPORT(DecodeIQ2XXS);
HWY_EXPORT(DecodeIQ2XS);
HWY_EXPORT(DecodeIQ2S);
HWY_EXPORT(DecodeIQ3XXS);
HWY_EXPORT(DecodeIQ3S);
HWY_EXPORT(DecodeIQ4NL);
HWY_EXPORT(DecodeIQ4XS);

namespace kernels {

void decode_iq1_s(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeIQ1S)(src, dst, n); }
void decode_iq1_m(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeIQ1M)(src, dst, n); }
void decode_iq2_xxs(const std::byte* src, float* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(DecodeIQ2XXS)(src, dst, n);
}
void decode_iq2_xs(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeIQ2XS)(src, dst, n); }
void decode_iq2_s(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeIQ2S)(src, dst, n); }
void decode_iq3_xxs(const std::byte* src, float* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(DecodeIQ3XXS)(src, dst, n);
}
void decode_iq3_s(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeIQ3S)(src, dst, n); }
void decode_iq4_nl(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeIQ4NL)(src, dst, n); }
void decode_iq4_xs(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeIQ4XS)(src, dst, n); }

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
