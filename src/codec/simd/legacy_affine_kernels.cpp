#include "codec/simd/legacy_affine_kernels.hpp"

#include <cstdint>
#include <cstring>

#include "codec/scalar/legacy.hpp"
#include "codec/scalar/scale_search.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/legacy_affine_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/affine_search-inl.hpp"
#include "codec/simd/float-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

constexpr std::size_t kBlock = scalar::kLegacyBlock;

/// What is found for two vectors of blocks.
struct PairFits {
  HWY_ALIGN float scale[2 * kMaxGroups];
  HWY_ALIGN float min[2 * kMaxGroups];
  HWY_ALIGN float inverse[2 * kMaxGroups];
  HWY_ALIGN float origin[2 * kMaxGroups];
  HWY_ALIGN float weight[2 * kMaxGroups];
  HWY_ALIGN float strange[2 * kMaxGroups];
  HWY_ALIGN std::uint16_t half_scale[2 * kMaxGroups];  // as F16
  HWY_ALIGN std::uint16_t half_min[2 * kMaxGroups];
};

HWY_INLINE void StoreHalves(const float* numbers, std::uint16_t* halves) {
  const GroupF df;
  const GroupI di;
  const hn::Rebind<std::uint16_t, GroupF> dh;
  for (std::size_t i = 0; i < 2 * kMaxGroups; i += hn::Lanes(df)) {
    const auto half = F16::Narrow(di, hn::BitCast(di, hn::Load(df, numbers + i)));
    hn::Store(hn::DemoteTo(dh, half), dh, halves + i);
  }
}

/// Searches the first blocks of a run, as many as two vectors hold; at most `blocks`.
HWY_INLINE void SearchBlocks(const float* src, Weights weights, std::size_t blocks, const scalar::AffineSearch& search,
                             PairFits& fits) {
  AffineBatch<kBlock> a, b;
  const std::size_t lanes = hn::Lanes(GroupF());
  const auto load = [&](AffineBatch<kBlock>& batch, std::size_t first) HWY_ATTR {
    const std::size_t count = HWY_MIN(blocks - first, lanes);
    LoadGroups<kBlock>(src + first * kBlock, count, batch.x);
    HWY_ALIGN float mean_squares[kMaxGroups];
    for (std::size_t g = 0; g < lanes; ++g) mean_squares[g] = weights.row_mean_squares[first + HWY_MIN(g, count - 1)];
    WeighByImportance(batch, weights.of + first * kBlock, count, mean_squares);
  };
  load(a, 0);
  // A second half without blocks repeats the last one, as lanes without a block do.
  load(b, HWY_MIN(lanes, blocks - 1));
  SearchPair<false>(a, b, search);
  const AffineFits to{fits.scale, fits.min, fits.inverse, fits.origin, fits.weight, fits.strange};
  StoreFits(a, to, 0);
  StoreFits(b, to, lanes);
  StoreHalves(fits.scale, fits.half_scale);
  StoreHalves(fits.min, fits.half_min);
}

/// The 16 bytes of a block's codes, without their fifth bits, which are given back: bit i is that of number i.
template <std::int32_t kTop>
HWY_INLINE std::uint32_t StoreCodes(const float* x, float inverse, float origin, std::byte* dst) {
  const GroupF df;
  const GroupI di;
  const hn::Rebind<std::uint8_t, GroupF> db;
  const auto rounder = hn::Set(df, kRounder), last = hn::Set(df, kRounder + static_cast<float>(kTop));
  const auto four_bits = hn::Set(di, 15);
  const auto codes_of = [&](const float* from) HWY_ATTR {
    const auto steps = hn::Mul(hn::Set(df, inverse), hn::Sub(hn::LoadU(df, from), hn::Set(df, origin)));
    const auto rounded = hn::Min(hn::Max(hn::Add(steps, rounder), rounder), last);
    return hn::BitCast(di, hn::Sub(hn::BitCast(di, rounded), hn::BitCast(di, rounder)));
  };
  const auto fifths_of = [&](hn::Vec<GroupI> codes, std::size_t at) HWY_ATTR {
    std::uint8_t bytes[8] = {};
    hn::StoreMaskBits(di, hn::Gt(codes, four_bits), bytes);
    return (bytes[0] | std::uint32_t{bytes[1]} << 8) << at;
  };
  std::uint32_t fifths = 0;
  for (std::size_t j = 0; j < kBlock / 2; j += hn::Lanes(df)) {
    const auto low = codes_of(x + j), high = codes_of(x + kBlock / 2 + j);
    const auto nibbles = hn::Or(hn::And(low, four_bits), hn::ShiftLeft<4>(hn::And(high, four_bits)));
    hn::StoreU(hn::DemoteTo(db, nibbles), db, reinterpret_cast<std::uint8_t*>(dst + j));
    if constexpr (kTop > 15) fifths |= fifths_of(low, j) | fifths_of(high, kBlock / 2 + j);
  }
  return fifths;
}

/// Encodes a run of blocks whose codes are 0 … kTop; `reference` those that hold something strange.
template <std::int32_t kTop>
HWY_INLINE void EncodeBlocks(const float* src, Weights weights, std::byte* dst, std::size_t n,
                             WeightedEncodeFn reference) {
  constexpr std::size_t kBytes = kTop > 15 ? scalar::kQ5_1Bytes : scalar::kQ4_1Bytes;
  constexpr scalar::AffineSearch kSearch{kTop, -0.9F, 0.05F, 36, false};
  PairFits fits = {};
  for (std::size_t left = n / kBlock; left != 0;) {
    const std::size_t blocks = HWY_MIN(left, 2 * hn::Lanes(GroupF()));
    SearchBlocks(src, weights, blocks, kSearch, fits);
    for (std::size_t b = 0; b < blocks; ++b, src += kBlock, dst += kBytes) {
      if (HWY_UNLIKELY(fits.strange[b] != 0)) {
        reference(src, weights, dst, kBlock);
      } else {
        std::memcpy(dst, fits.half_scale + b, 2);
        std::memcpy(dst + 2, fits.half_min + b, 2);
        const std::uint32_t fifths = StoreCodes<kTop>(src, fits.inverse[b], fits.origin[b], dst + kBytes - 16);
        if constexpr (kTop > 15) std::memcpy(dst + 4, &fifths, 4);
      }
      weights.of += kBlock;
      ++weights.row_mean_squares;
    }
    left -= blocks;
  }
}

template <std::int32_t kTop>
HWY_INLINE void EncodeWeighted(const float* src, Weights weights, std::byte* dst, std::size_t n,
                               WeightedEncodeFn reference) {
  if constexpr (!kVectors) {
    reference(src, weights, dst, n);
  } else {
    EncodeBlocks<kTop>(src, weights, dst, n, reference);
  }
}

void EncodeQ4_1Weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  EncodeWeighted<15>(src, weights, dst, n, scalar::encode_q4_1_weighted);
}
void EncodeQ5_1Weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  EncodeWeighted<31>(src, weights, dst, n, scalar::encode_q5_1_weighted);
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(EncodeQ4_1Weighted);
HWY_EXPORT(EncodeQ5_1Weighted);

namespace kernels {

void encode_q4_1_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeQ4_1Weighted)(src, weights, dst, n);
}
void encode_q5_1_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeQ5_1Weighted)(src, weights, dst, n);
}

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
