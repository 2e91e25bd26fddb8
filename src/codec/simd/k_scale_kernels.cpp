#include "codec/simd/k_scale_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>

#include "codec/scalar/block_support.hpp"
#include "codec/scalar/k_blocks.hpp"
#include "codec/scalar/k_quants.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/k_scale_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/float-inl.hpp"
#include "codec/simd/scale_search-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

constexpr std::size_t kGroup = 16;
constexpr std::size_t kGroups = scalar::kSuperBlock / kGroup;

/// The codes of numbers from how many steps they are from zero, as scalar::nearest finds them: beyond 2^22 steps, from
/// what the bits of the sum happen to be.
template <int kHalf>
HWY_INLINE void StoreSignedCodes(VF steps, std::uint8_t* codes) {
  const GroupF df;
  const GroupI di;
  const hn::Rebind<std::uint8_t, GroupF> db;
  const auto bits = hn::BitCast(di, hn::Add(steps, hn::Set(df, kRounder)));
  auto code = hn::And(bits, hn::Set(di, 0x7FFFFF));
  code = hn::Min(hn::Max(code, hn::Set(di, 0x400000 - kHalf)), hn::Set(di, 0x400000 + kHalf - 1));
  hn::StoreU(hn::DemoteTo(db, hn::Sub(code, hn::Set(di, 0x400000 - kHalf))), db, codes);
}

/// The codes of a group once its scale is what the block can hold, and not zero.
template <int kHalf>
HWY_INLINE void Requantise(const float* x, float scale, std::uint8_t* codes) {
  const GroupF df;
  const auto divisor = hn::Set(df, scale);
  for (std::size_t i = 0; i < kGroup; i += hn::Lanes(df)) {
    StoreSignedCodes<kHalf>(hn::Div(hn::LoadU(df, x + i), divisor), codes + i);
  }
}

/// The codes of the search, which stay where a scale has become zero. No inverse stands for a tiny group.
template <int kHalf>
HWY_INLINE void StoreSearchedCodes(const float* x, float inverse, std::uint8_t* codes) {
  const GroupF df;
  if (inverse == 0) {
    std::memset(codes, 0, kGroup);
    return;
  }
  const auto factor = hn::Set(df, inverse);
  for (std::size_t i = 0; i < kGroup; i += hn::Lanes(df)) {
    StoreSignedCodes<kHalf>(hn::Mul(hn::LoadU(df, x + i), factor), codes + i);
  }
}

// Q6_K

HWY_INLINE void StoreQ6KCodes(const std::uint8_t* HWY_RESTRICT codes, std::byte* HWY_RESTRICT dst) {
  auto* const low = reinterpret_cast<std::uint8_t*>(dst);
  auto* const high = low + 128;
  for (std::size_t half = 0; half < 2; ++half) {
    const std::uint8_t* const q = codes + 128 * half;
    for (std::size_t i = 0; i < 64; ++i) {
      low[64 * half + i] = static_cast<std::uint8_t>((q[i] & 15) | (q[i + 64] & 15) << 4);
    }
    for (std::size_t i = 0; i < 32; ++i) {
      high[32 * half + i] =
          static_cast<std::uint8_t>(q[i] >> 4 | (q[i + 32] >> 4) << 2 | (q[i + 64] >> 4) << 4 | (q[i + 96] >> 4) << 6);
    }
  }
}

/// A block from the scales that fit its groups and their inverses.
HWY_INLINE void StoreQ6K(const float* x, const float* fits, const float* inverses, std::byte* dst) {
  const float most = scalar::largest(std::span(fits, kGroups));
  if (std::fabs(most) < scalar::kTiny) {
    std::memset(dst, 0, scalar::kQ6KBytes);
    return;
  }
  const float inverse = -128 / most;
  scalar::store_scale(1 / inverse, dst + 208);
  const float d = scalar::load_scale(dst + 208);
  HWY_ALIGN std::uint8_t codes[scalar::kSuperBlock];
  for (std::size_t g = 0; g < kGroups; ++g) {
    const auto scale = static_cast<std::int8_t>(std::min(127, scalar::nearest(inverse * fits[g])) & 0xFF);
    dst[192 + g] = static_cast<std::byte>(scale);
    const float exact = d * static_cast<float>(scale);
    if (exact != 0) {
      Requantise<32>(x + g * kGroup, exact, codes + g * kGroup);
    } else {
      StoreSearchedCodes<32>(x + g * kGroup, inverses[g], codes + g * kGroup);
    }
  }
  StoreQ6KCodes(codes, dst);
}

/// `importance` is null where there is no matrix.
HWY_INLINE void EncodeQ6KBlocks(const float* src, const float* importance, std::byte* dst, std::size_t n) {
  const std::size_t lanes = hn::Lanes(GroupF());
  HWY_ALIGN float scales[kGroups];
  HWY_ALIGN float inverses[kGroups];
  Groups<kGroup> groups;
  for (std::size_t at = 0; at < n; at += scalar::kSuperBlock, dst += scalar::kQ6KBytes) {
    bool finite = true;
    for (std::size_t g = 0; g < kGroups && finite; g += lanes) {
      finite = Load<kGroup>(src + at + g * kGroup, lanes, groups.x, groups.most);
      if (importance != nullptr) {
        Weigh(importance + at + g * kGroup, lanes, groups);
      } else {
        WeighBySquares(groups);
      }
      SearchScale<32>(groups, scales + g, inverses + g);
    }
    if (HWY_LIKELY(finite)) {
      StoreQ6K(src + at, scales, inverses, dst);
    } else if (importance != nullptr) {
      scalar::encode_q6_k_weighted(src + at, {importance + at, nullptr}, dst, scalar::kSuperBlock);
    } else {
      scalar::encode_q6_k(src + at, dst, scalar::kSuperBlock);
    }
  }
}

void EncodeQ6_K(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q6_k(src, dst, n);
  EncodeQ6KBlocks(src, nullptr, dst, n);
}

void EncodeQ6_KWeighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q6_k_weighted(src, weights, dst, n);
  EncodeQ6KBlocks(src, weights.of, dst, n);
}

// Q3_K

constexpr std::size_t kScales = 96;  // where the scales begin
constexpr std::size_t kFactor = 108;

HWY_INLINE void StoreQ3KCodes(const std::uint8_t* HWY_RESTRICT codes, std::byte* HWY_RESTRICT dst) {
  auto* const high = reinterpret_cast<std::uint8_t*>(dst);
  auto* const low = high + 32;
  for (std::size_t i = 0; i < 32; ++i) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 8; ++k) bits |= static_cast<unsigned>(codes[32 * k + i] >> 2) << k;
    high[i] = static_cast<std::uint8_t>(bits);
  }
  for (std::size_t half = 0; half < 2; ++half) {
    const std::uint8_t* const q = codes + 128 * half;
    for (std::size_t i = 0; i < 32; ++i) {
      low[32 * half + i] =
          static_cast<std::uint8_t>((q[i] & 3) | (q[i + 32] & 3) << 2 | (q[i + 64] & 3) << 4 | (q[i + 96] & 3) << 6);
    }
  }
}

/// Makes the scales that fit the groups integers, and stores them. Where all are zero what is stored stands for −32,
/// and the factor is zero.
HWY_INLINE void StoreQ3KScales(const float* fits, std::byte* dst) {
  std::memset(dst + kScales, 0, scalar::kQ3KBytes - kScales);
  const float most = scalar::largest(std::span(fits, kGroups));
  if (most == 0) return;
  const float inverse = -32 / most;
  for (std::size_t g = 0; g < kGroups; ++g) {
    const auto low = static_cast<std::int8_t>(scalar::nearest(inverse * fits[g]) & 0xFF);
    scalar::store_q3_k_scale(std::clamp<std::int32_t>(low, -32, 31), dst + kScales, g);
  }
  scalar::store_scale(1 / inverse, dst + kFactor);
}

/// Blocks whose groups descend at once: in four vectors of 16 lanes, or in more of fewer.
constexpr std::size_t kDescentBlocks = 4;
constexpr std::size_t kDescents = kDescentBlocks * kGroups / 4;  // a vector has four lanes or more

struct Q3KBatch {
  Descent<kGroup> descents[kDescents];
};

/// The codes of group g from its levels, for a scale that has become zero.
HWY_INLINE void LevelsToCodes(const Descent<kGroup>& descent, std::size_t g, std::uint8_t* codes) {
  const bool tiny = std::fabs(descent.most[g]) < scalar::kTiny;
  for (std::size_t i = 0; i < kGroup; ++i) {
    codes[i] = tiny ? 0 : static_cast<std::uint8_t>(descent.level[i * hn::Lanes(GroupF()) + g] + 4);
  }
}

HWY_INLINE void StoreQ3K(const float* x, const Descent<kGroup>* descents, std::byte* dst) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  HWY_ALIGN float fits[kGroups];
  for (std::size_t g = 0; g < kGroups; g += lanes) hn::Store(ScaleOf(descents[g / lanes]), df, fits + g);
  StoreQ3KScales(fits, dst);
  const float d = scalar::load_scale(dst + kFactor);
  HWY_ALIGN std::uint8_t codes[scalar::kSuperBlock];
  for (std::size_t g = 0; g < kGroups; ++g) {
    const float scale = d * static_cast<float>(scalar::q3_k_scale(dst + kScales, g));
    if (scale != 0) {
      Requantise<4>(x + g * kGroup, scale, codes + g * kGroup);
    } else {
      LevelsToCodes(descents[g / lanes], g % lanes, codes + g * kGroup);
    }
  }
  StoreQ3KCodes(codes, dst);
}

void EncodeQ3_K(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q3_k(src, dst, n);
  const std::size_t lanes = hn::Lanes(GroupF());
  const std::size_t vectors = kGroups / lanes;  // of a block
  Q3KBatch batch;
  for (std::size_t left = n / scalar::kSuperBlock; left != 0;) {
    const std::size_t blocks = std::min(left, kDescentBlocks);
    bool finite = true;
    for (std::size_t v = 0; v < blocks * vectors; ++v) {
      Descent<kGroup>& descent = batch.descents[v];
      finite &= Load<kGroup>(src + v * lanes * kGroup, lanes, descent.x, descent.most);
    }
    if (HWY_LIKELY(finite)) {
      DescendScales<4, kDescents>(batch.descents, blocks * vectors);
      for (std::size_t b = 0; b < blocks; ++b) {
        StoreQ3K(src + b * scalar::kSuperBlock, batch.descents + b * vectors, dst + b * scalar::kQ3KBytes);
      }
    } else {
      scalar::encode_q3_k(src, dst, blocks * scalar::kSuperBlock);
    }
    src += blocks * scalar::kSuperBlock;
    dst += blocks * scalar::kQ3KBytes;
    left -= blocks;
  }
}

/// Blocks of Q3_K with an importance matrix: one a lane when their scales are made integers, for that is a search too.
struct WeightedQ3KBatch {
  HWY_ALIGN float fits[kMaxGroups * kGroups];  // of group g of block b, at [b * kGroups + g]
  HWY_ALIGN float inverses[kMaxGroups * kGroups];
  HWY_ALIGN float weights[kMaxGroups * kGroups];  // of whole groups
  HWY_ALIGN float factor[kMaxGroups];             // of a block
  HWY_ALIGN float factor_inverse[kMaxGroups];
};

/// Fits the groups of some blocks, and then the blocks' factors. False when something isn't finite.
HWY_INLINE bool FitWeightedQ3K(const float* x, const float* importance, std::size_t blocks, WeightedQ3KBatch& batch) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  HWY_ALIGN float squares[kMaxGroups];
  const auto mean = hn::Mul(hn::Mul(hn::Set(df, 2.0F), SumOfBlockSquares(x, blocks)), hn::Set(df, 1.0F / 256));
  hn::Store(mean, df, squares);
  Groups<kGroup> groups;
  for (std::size_t g = 0; g < blocks * kGroups; g += lanes) {
    if (!Load<kGroup>(x + g * kGroup, lanes, groups.x, groups.most)) return false;
    const auto square = hn::Set(df, squares[g / kGroups]);
    hn::Store(WeighByImportance(importance + g * kGroup, lanes, square, groups), df, batch.weights + g);
    SearchScale<4>(groups, batch.fits + g, batch.inverses + g);
  }
  if (!Load<kGroups>(batch.fits, blocks, groups.x, groups.most)) return false;
  Weigh(batch.weights, blocks, groups);
  SearchScale<32>(groups, batch.factor, batch.factor_inverse);
  return true;
}

HWY_INLINE void StoreWeightedQ3K(const float* x, const WeightedQ3KBatch& batch, std::size_t b, std::byte* dst) {
  const float* const fits = batch.fits + b * kGroups;
  const float factor_inverse = batch.factor_inverse[b];
  std::memset(dst + kScales, 0, scalar::kQ3KBytes - kScales);
  for (std::size_t g = 0; factor_inverse != 0 && g < kGroups; ++g) {  // else all are tiny, and what is stored is zero
    const std::int32_t scale = std::clamp(scalar::nearest(factor_inverse * fits[g]), -32, 31);
    scalar::store_q3_k_scale(scale, dst + kScales, g);
  }
  scalar::store_scale(batch.factor[b], dst + kFactor);
  const float d = scalar::load_scale(dst + kFactor);
  HWY_ALIGN std::uint8_t codes[scalar::kSuperBlock];
  for (std::size_t g = 0; g < kGroups; ++g) {
    const float scale = d * static_cast<float>(scalar::q3_k_scale(dst + kScales, g));
    if (scale != 0) {
      Requantise<4>(x + g * kGroup, scale, codes + g * kGroup);
    } else {
      StoreSearchedCodes<4>(x + g * kGroup, batch.inverses[b * kGroups + g], codes + g * kGroup);
    }
  }
  StoreQ3KCodes(codes, dst);
}

void EncodeQ3_KWeighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q3_k_weighted(src, weights, dst, n);
  WeightedQ3KBatch batch;
  for (std::size_t left = n / scalar::kSuperBlock; left != 0;) {
    const std::size_t blocks = std::min(left, hn::Lanes(GroupF()));
    if (HWY_LIKELY(FitWeightedQ3K(src, weights.of, blocks, batch))) {
      for (std::size_t b = 0; b < blocks; ++b) {
        StoreWeightedQ3K(src + b * scalar::kSuperBlock, batch, b, dst + b * scalar::kQ3KBytes);
      }
    } else {
      scalar::encode_q3_k_weighted(src, weights, dst, blocks * scalar::kSuperBlock);
    }
    src += blocks * scalar::kSuperBlock;
    weights.of += blocks * scalar::kSuperBlock;
    dst += blocks * scalar::kQ3KBytes;
    left -= blocks;
  }
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(EncodeQ3_K);
HWY_EXPORT(EncodeQ3_KWeighted);
HWY_EXPORT(EncodeQ6_K);
HWY_EXPORT(EncodeQ6_KWeighted);

namespace kernels {

void encode_q3_k(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ3_K)(src, dst, n); }
void encode_q6_k(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ6_K)(src, dst, n); }

void encode_q3_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeQ3_KWeighted)(src, weights, dst, n);
}
void encode_q6_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeQ6_KWeighted)(src, weights, dst, n);
}

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
