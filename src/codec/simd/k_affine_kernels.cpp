#include "codec/simd/k_affine_kernels.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "codec/scalar/k_quants.hpp"
#include "codec/scalar/scale_search.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/k_affine_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/affine_search-inl.hpp"
#include "codec/simd/float-inl.hpp"
#include "codec/simd/positive_search-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

using VecI = hn::Vec<GroupI>;

constexpr std::size_t kBlock = scalar::kSuperBlock;
// Blocks are taken in tiles: the search wants two vectors full of groups, the factors of the blocks one.
constexpr std::size_t kTileBlocks = 8;

/// What is found for a tile: of each group, then of each block. Lanes past the last group write past it.
template <std::size_t kSize>
struct AffineTile {
  static constexpr std::size_t kGroupsPerBlock = kBlock / kSize;
  static constexpr std::size_t kGroups = kTileBlocks * kGroupsPerBlock;
  static constexpr std::size_t kRoom = kGroups + 2 * kMaxGroups;

  HWY_ALIGN float scale[kRoom];  // in: the search's; out: what the block can hold
  HWY_ALIGN float min[kRoom];    // in: as it is added; out: as it is subtracted
  HWY_ALIGN float inverse[kRoom];
  HWY_ALIGN float origin[kRoom];
  HWY_ALIGN float weight[kRoom];
  HWY_ALIGN float strange[kRoom];
  HWY_ALIGN float mean_square[kRoom];  // of the block, where that has a say in the weights
  HWY_ALIGN std::uint8_t scale_code[kRoom];
  HWY_ALIGN std::uint8_t min_code[kRoom];

  // Of the scales of the blocks, then of their offsets.
  HWY_ALIGN float most[2 * kTileBlocks];
  HWY_ALIGN float inverse_factor[2 * kTileBlocks];
  HWY_ALIGN float factor[2 * kTileBlocks];
  HWY_ALIGN std::uint16_t half[2 * kTileBlocks];
};

/// The integer that scalar::nearest finds, for every float there is.
HWY_INLINE VecI Nearest(VecF number) {
  const GroupI di;
  const auto bits = hn::BitCast(di, hn::Add(number, hn::Set(GroupF(), kRounder)));
  return hn::Sub(hn::And(bits, hn::Set(di, 0x7FFFFF)), hn::Set(di, 0x400000));
}

/// Each number weighs its magnitude plus the root mean square of its group.
HWY_INLINE void WeighByMean(AffineBatch<32>& batch) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  auto squares = hn::Zero(df);
  for (std::size_t i = 0; i < 32; ++i) {
    const auto x = hn::Load(df, batch.x + i * lanes);
    squares = hn::Add(squares, hn::Mul(x, x));
  }
  const auto mean = hn::Sqrt(hn::Div(squares, hn::Set(df, 32.0F)));
  for (std::size_t i = 0; i < 32; ++i) {
    const auto x = hn::Load(df, batch.x + i * lanes);
    hn::Store(hn::Add(mean, hn::Abs(x)), df, batch.weights + i * lanes);
  }
}

/// Each number weighs its magnitude.
HWY_INLINE void WeighByMagnitude(AffineBatch<16>& batch) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  for (std::size_t i = 0; i < 16; ++i) {
    hn::Store(hn::Abs(hn::Load(df, batch.x + i * lanes)), df, batch.weights + i * lanes);
  }
}

/// The largest of a block's numbers that is above zero, or zero. They are finite.
template <std::size_t kCount>
HWY_INLINE float MostOf(const float* numbers) {
  const hn::CappedTag<float, kCount> df;
  auto most = hn::LoadU(df, numbers);
  for (std::size_t i = hn::Lanes(df); i < kCount; i += hn::Lanes(df)) most = hn::Max(most, hn::LoadU(df, numbers + i));
  const float value = hn::GetLane(hn::MaxOfLanes(df, most));
  return value > 0 ? value : 0;
}

/// Keeps some factors as the F16 that are stored, and as what those stand for.
template <std::size_t kSize>
HWY_INLINE void StoreHalves(AffineTile<kSize>& tile, std::size_t at, VecF factors) {
  const GroupI di;
  const hn::Rebind<std::uint16_t, GroupF> dh;
  const auto half = F16::Narrow(di, hn::BitCast(di, factors));
  hn::Store(hn::DemoteTo(dh, half), dh, tile.half + at);
  hn::Store(hn::BitCast(GroupF(), F16::Widen(di, half)), GroupF(), tile.factor + at);
}

/// The factors of the blocks of a tile, from the largest scale and offset of each.
template <std::size_t kSize>
HWY_INLINE void FindFactors(AffineTile<kSize>& tile, std::size_t blocks, float top) {
  constexpr std::size_t kCount = kBlock / kSize;
  const GroupF df;
  for (std::size_t b = 0; b < blocks; ++b) {
    tile.most[b] = MostOf<kCount>(tile.scale + b * kCount);
    tile.most[kTileBlocks + b] = MostOf<kCount>(tile.min + b * kCount);
  }
  for (std::size_t i = 0; i < 2 * kTileBlocks; i += hn::Lanes(df)) {
    const auto most = hn::Load(df, tile.most + i);
    const auto any = hn::Gt(most, hn::Zero(df));
    hn::Store(hn::IfThenElseZero(any, hn::Div(hn::Set(df, top), most)), df, tile.inverse_factor + i);
    StoreHalves(tile, i, hn::Div(most, hn::Set(df, top)));
  }
}

/// With weights: the factors, and the integers at once. Lanes are the scales of the blocks, then their offsets.
template <std::size_t kSize>
HWY_INLINE void SearchFactors(AffineTile<kSize>& tile, std::size_t blocks, float top) {
  constexpr std::size_t kCount = kBlock / kSize;
  PositiveBatch<kCount> batch;
  for (std::size_t b = 0; b < kTileBlocks; ++b) {
    const std::size_t from = HWY_MIN(b, blocks - 1) * kCount;
    for (std::size_t g = 0; g < kCount; ++g) {
      float* const x = batch.x + g * kMaxGroups + b;
      float* const weight = batch.weights + g * kMaxGroups + b;
      x[0] = tile.scale[from + g];
      x[kTileBlocks] = tile.min[from + g];
      weight[0] = weight[kTileBlocks] = tile.weight[from + g];
    }
  }
  const GroupF df;
  for (std::size_t i = 0; i < 2 * kTileBlocks; i += hn::Lanes(df)) {
    SearchPositive(batch, i, top);
    StoreHalves(tile, i, hn::Load(df, batch.scale + i));
  }
  for (std::size_t b = 0; b < blocks; ++b) {
    const float strange = batch.strange[b] + batch.strange[kTileBlocks + b];
    if (HWY_UNLIKELY(strange != 0)) tile.strange[b * kCount] = strange;
    for (std::size_t g = 0; g < kCount; ++g) {
      const float* const codes = batch.codes + g * kMaxGroups + b;
      tile.scale[b * kCount + g] = tile.factor[b] * codes[0];
      tile.min[b * kCount + g] = tile.factor[kTileBlocks + b] * codes[kTileBlocks];
      tile.scale_code[b * kCount + g] = static_cast<std::uint8_t>(codes[0]);
      tile.min_code[b * kCount + g] = static_cast<std::uint8_t>(codes[kTileBlocks]);
    }
  }
}

/// Makes the scales and offsets of one block integers of 0 … kTop, and puts what those stand for in their place.
template <std::int32_t kTop, std::size_t kSize>
HWY_INLINE void QuantiseScales(AffineTile<kSize>& tile, std::size_t block) {
  constexpr std::size_t kCount = kBlock / kSize;
  const hn::CappedTag<float, kCount> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::uint8_t, decltype(df)> db;
  const auto quantise = [&](float* numbers, std::uint8_t* codes, std::size_t which) HWY_ATTR {
    const auto inverse = hn::Set(df, tile.inverse_factor[which * kTileBlocks + block]);
    const auto factor = hn::Set(df, tile.factor[which * kTileBlocks + block]);
    for (std::size_t g = 0; g < kCount; g += hn::Lanes(df)) {
      const auto steps = hn::Mul(inverse, hn::LoadU(df, numbers + g));
      const auto bits = hn::BitCast(di, hn::Add(steps, hn::Set(df, kRounder)));
      // Infinite steps, from a denormal factor, come out as zero here as in the scalar reference.
      const auto code = hn::Min(hn::And(bits, hn::Set(di, 0xFF)), hn::Set(di, kTop));
      hn::StoreU(hn::DemoteTo(db, code), db, codes + g);
      hn::StoreU(hn::Mul(factor, hn::ConvertTo(df, code)), df, numbers + g);
    }
  };
  quantise(tile.scale + block * kCount, tile.scale_code + block * kCount, 0);
  quantise(tile.min + block * kCount, tile.min_code + block * kCount, 1);
}

/// Codes of some numbers of a group once its scale and offset are what the block can hold. Where the scale has become
/// zero they are those of the search.
template <std::int32_t kTop, std::size_t kSize>
HWY_INLINE VecI CodesOf(const AffineTile<kSize>& tile, std::size_t group, const float* x) {
  const GroupF df;
  const GroupI di;
  const auto numbers = hn::LoadU(df, x);
  const float scale = tile.scale[group];
  VecF steps;
  if (HWY_LIKELY(scale != 0)) {
    steps = hn::Div(hn::Add(numbers, hn::Set(df, tile.min[group])), hn::Set(df, scale));
  } else {
    steps = hn::Mul(hn::Set(df, tile.inverse[group]), hn::Sub(numbers, hn::Set(df, tile.origin[group])));
  }
  return hn::Min(hn::Max(Nearest(steps), hn::Zero(di)), hn::Set(di, kTop));
}

HWY_INLINE void StoreBytes(VecI codes, std::byte* dst) {
  const hn::Rebind<std::uint8_t, GroupI> db;
  hn::StoreU(hn::DemoteTo(db, codes), db, reinterpret_cast<std::uint8_t*>(dst));
}

/// Eight scales and eight offsets of 6 bits in 12 bytes.
HWY_INLINE void StoreSixBits(const std::uint8_t* scales, const std::uint8_t* mins, std::byte* dst) {
  std::uint32_t scale[2], min[2];
  std::memcpy(scale, scales, 8);
  std::memcpy(min, mins, 8);
  const std::uint32_t packed[3] = {
      scale[0] | (scale[1] & 0x30303030) << 2,
      min[0] | (min[1] & 0x30303030) << 2,
      (scale[1] & 0x0F0F0F0F) | (min[1] & 0x0F0F0F0F) << 4,
  };
  std::memcpy(dst, packed, 12);
}

template <std::size_t kSize>
HWY_INLINE void StoreFactors(const AffineTile<kSize>& tile, std::size_t block, std::byte* dst) {
  std::memcpy(dst, tile.half + block, 2);
  std::memcpy(dst + 2, tile.half + kTileBlocks + block, 2);
}

struct Q2K {
  static constexpr std::size_t kSize = 16, kBytes = scalar::kQ2KBytes;
  static constexpr std::int32_t kTop = 3, kScaleTop = 15;
  static constexpr bool kAbsolute = true;
  static constexpr scalar::AffineSearch kSearch{kTop, -0.5F, 0.1F, 15, kAbsolute};
  static constexpr scalar::AffineSearch kWeightedSearch{kTop, -0.9F, 0.05F, 36, false};
  static constexpr float kSquares = 1;  // mean squares in what is added under the root

  static HWY_INLINE void Weigh(AffineBatch<kSize>& batch) { WeighByMagnitude(batch); }

  static HWY_INLINE void Store(const AffineTile<kSize>& tile, std::size_t block, const float* x, std::byte* dst) {
    const std::size_t first = block * 16;
    for (std::size_t g = 0; g < 16; ++g) {
      dst[g] = static_cast<std::byte>((tile.scale_code[first + g] | tile.min_code[first + g] << 4) & 0xFF);
    }
    StoreFactors(tile, block, dst + 80);
    for (std::size_t half = 0; half < 2; ++half) {
      for (std::size_t l = 0; l < 32; l += hn::Lanes(GroupF())) {
        const std::size_t at = half * 128 + l;
        const std::size_t group = first + at / kSize;
        const auto a = CodesOf<kTop>(tile, group, x + at);
        const auto b = hn::ShiftLeft<2>(CodesOf<kTop>(tile, group + 2, x + at + 32));
        const auto c = hn::ShiftLeft<4>(CodesOf<kTop>(tile, group + 4, x + at + 64));
        const auto d = hn::ShiftLeft<6>(CodesOf<kTop>(tile, group + 6, x + at + 96));
        StoreBytes(hn::Or(hn::Or(a, b), hn::Or(c, d)), dst + 16 + half * 32 + l);
      }
    }
  }
};

struct Q4K {
  static constexpr std::size_t kSize = 32, kBytes = scalar::kQ4KBytes;
  static constexpr std::int32_t kTop = 15, kScaleTop = 63;
  static constexpr bool kAbsolute = false;
  static constexpr scalar::AffineSearch kSearch{kTop, -1.0F, 0.1F, 20, kAbsolute};
  static constexpr scalar::AffineSearch kWeightedSearch{kTop, -0.9F, 0.05F, 36, false};
  static constexpr float kSquares = 2;  // mean squares in what is added under the root

  static HWY_INLINE void Weigh(AffineBatch<kSize>& batch) { WeighByMean(batch); }

  static HWY_INLINE void Store(const AffineTile<kSize>& tile, std::size_t block, const float* x, std::byte* dst) {
    const std::size_t first = block * 8;
    StoreFactors(tile, block, dst);
    StoreSixBits(tile.scale_code + first, tile.min_code + first, dst + 4);
    for (std::size_t g = 0; g < 8; g += 2) {
      for (std::size_t l = 0; l < 32; l += hn::Lanes(GroupF())) {
        const auto low = CodesOf<kTop>(tile, first + g, x + g * 32 + l);
        const auto high = CodesOf<kTop>(tile, first + g + 1, x + g * 32 + 32 + l);
        StoreBytes(hn::Or(low, hn::ShiftLeft<4>(high)), dst + 16 + g * 16 + l);
      }
    }
  }
};

struct Q5K {
  static constexpr std::size_t kSize = 32, kBytes = scalar::kQ5KBytes;
  static constexpr std::int32_t kTop = 31, kScaleTop = 63;
  static constexpr bool kAbsolute = false;
  static constexpr scalar::AffineSearch kSearch{kTop, -0.5F, 0.1F, 15, kAbsolute};
  static constexpr scalar::AffineSearch kWeightedSearch{kTop, -0.9F, 0.05F, 36, false};
  static constexpr float kSquares = 2;  // mean squares in what is added under the root

  static HWY_INLINE void Weigh(AffineBatch<kSize>& batch) { WeighByMean(batch); }

  static HWY_INLINE void Store(const AffineTile<kSize>& tile, std::size_t block, const float* x, std::byte* dst) {
    const GroupI di;
    const std::size_t first = block * 8;
    const auto four_bits = hn::Set(di, 15), fifth = hn::Set(di, 16);
    StoreFactors(tile, block, dst);
    StoreSixBits(tile.scale_code + first, tile.min_code + first, dst + 4);
    for (std::size_t l = 0; l < 32; l += hn::Lanes(di)) {
      auto fifths = hn::Zero(di);  // bit g is group g's, in the end
      for (std::size_t g = 0; g < 8; g += 2) {
        const auto low = CodesOf<kTop>(tile, first + g, x + g * 32 + l);
        const auto high = CodesOf<kTop>(tile, first + g + 1, x + g * 32 + 32 + l);
        const auto nibbles = hn::Or(hn::And(low, four_bits), hn::ShiftLeft<4>(hn::And(high, four_bits)));
        StoreBytes(nibbles, dst + 48 + g * 16 + l);
        const auto two = hn::Or(hn::ShiftLeft<2>(hn::And(low, fifth)), hn::ShiftLeft<3>(hn::And(high, fifth)));
        fifths = hn::Or(hn::ShiftRight<2>(fifths), two);
      }
      StoreBytes(fifths, dst + 16 + l);
    }
  }
};

/// The mean squares of the blocks of a tile, summed in order, for each of their groups. Eight sums at a time, for each
/// waits for its last addition.
template <class Type>
HWY_INLINE void FindMeanSquares(const float* src, std::size_t blocks, AffineTile<Type::kSize>& tile) {
  constexpr std::size_t kCount = kBlock / Type::kSize;
  float sums[kTileBlocks] = {};
  const float* rows[kTileBlocks];
  for (std::size_t b = 0; b < kTileBlocks; ++b) rows[b] = src + HWY_MIN(b, blocks - 1) * kBlock;
  for (std::size_t i = 0; i < kBlock; ++i) {
    for (std::size_t b = 0; b < kTileBlocks; ++b) sums[b] += rows[b][i] * rows[b][i];
  }
  for (std::size_t b = 0; b < blocks; ++b) {
    std::fill_n(tile.mean_square + b * kCount, kCount, Type::kSquares * sums[b] / kBlock);
  }
}

/// Searches the groups of a tile, two vectors of them at a time. `importance` is null without weights.
template <class Type>
HWY_INLINE void SearchTile(const float* src, const float* importance, std::size_t blocks,
                           AffineTile<Type::kSize>& tile) {
  constexpr std::size_t kSize = Type::kSize;
  AffineBatch<kSize> a, b;
  const AffineFits fits{tile.scale, tile.min, tile.inverse, tile.origin, tile.weight, tile.strange};
  const std::size_t lanes = hn::Lanes(GroupF());
  const std::size_t groups = blocks * (kBlock / kSize);
  const auto load = [&](AffineBatch<kSize>& batch, std::size_t first) HWY_ATTR {
    const std::size_t count = HWY_MIN(groups - first, lanes);
    LoadGroups<kSize>(src + first * kSize, count, batch.x);
    if (importance == nullptr) {
      Type::Weigh(batch);
    } else {
      WeighByImportance(batch, importance + first * kSize, count, tile.mean_square + first);
    }
  };
  if (importance != nullptr) FindMeanSquares<Type>(src, blocks, tile);
  for (std::size_t g = 0; g < groups; g += 2 * lanes) {
    load(a, g);
    // A second half without groups repeats the last one, as lanes without a group do.
    load(b, HWY_MIN(g + lanes, groups - 1));
    if (importance == nullptr) {
      SearchPair<Type::kAbsolute>(a, b, Type::kSearch);
    } else {
      SearchPair<false>(a, b, Type::kWeightedSearch);
    }
    StoreFits(a, fits, g);
    StoreFits(b, fits, g + lanes);
  }
  for (std::size_t g = 0; g < groups; ++g) tile.min[g] = -tile.min[g];
}

/// True where a group of the block is for the scalar reference.
template <std::size_t kSize>
HWY_INLINE bool IsStrange(const AffineTile<kSize>& tile, std::size_t block) {
  constexpr std::size_t kCount = kBlock / kSize;
  return MostOf<kCount>(tile.strange + block * kCount) != 0;
}

/// `reference` encodes the block at an offset from `src`, for blocks that hold something strange.
template <class Type, typename Reference>
HWY_INLINE void EncodeBlocks(const float* src, const float* importance, std::byte* dst, std::size_t n,
                             Reference reference) {
  AffineTile<Type::kSize> tile = {};
  const std::size_t all = n / kBlock;
  for (std::size_t done = 0; done < all; done += kTileBlocks) {
    const std::size_t blocks = HWY_MIN(all - done, kTileBlocks);
    const float* const x = src + done * kBlock;
    if (importance == nullptr) {
      SearchTile<Type>(x, nullptr, blocks, tile);
      FindFactors(tile, blocks, static_cast<float>(Type::kScaleTop));
      for (std::size_t b = 0; b < blocks; ++b) QuantiseScales<Type::kScaleTop>(tile, b);
    } else {
      SearchTile<Type>(x, importance + done * kBlock, blocks, tile);
      SearchFactors(tile, blocks, static_cast<float>(Type::kScaleTop));
    }
    for (std::size_t b = 0; b < blocks; ++b) {
      std::byte* const to = dst + (done + b) * Type::kBytes;
      if (HWY_UNLIKELY(IsStrange(tile, b))) {
        reference((done + b) * kBlock, to);
      } else {
        Type::Store(tile, b, x + b * kBlock, to);
      }
    }
  }
}

template <class Type>
HWY_INLINE void Encode(const float* src, std::byte* dst, std::size_t n, EncodeFn reference) {
  if constexpr (!kVectors) {
    reference(src, dst, n);
  } else {
    EncodeBlocks<Type>(src, nullptr, dst, n, [=](std::size_t at, std::byte* to) { reference(src + at, to, kBlock); });
  }
}

template <class Type>
HWY_INLINE void EncodeWeighted(const float* src, Weights weights, std::byte* dst, std::size_t n,
                               WeightedEncodeFn reference) {
  if constexpr (!kVectors) {
    reference(src, weights, dst, n);
  } else {
    EncodeBlocks<Type>(src, weights.of, dst, n, [=](std::size_t at, std::byte* to) {
      reference(src + at, {weights.of + at, nullptr}, to, kBlock);  // it makes its own mean squares, of the block
    });
  }
}

void EncodeQ2_K(const float* src, std::byte* dst, std::size_t n) { Encode<Q2K>(src, dst, n, scalar::encode_q2_k); }
void EncodeQ4_K(const float* src, std::byte* dst, std::size_t n) { Encode<Q4K>(src, dst, n, scalar::encode_q4_k); }
void EncodeQ5_K(const float* src, std::byte* dst, std::size_t n) { Encode<Q5K>(src, dst, n, scalar::encode_q5_k); }

void EncodeQ2_KWeighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  EncodeWeighted<Q2K>(src, weights, dst, n, scalar::encode_q2_k_weighted);
}
void EncodeQ4_KWeighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  EncodeWeighted<Q4K>(src, weights, dst, n, scalar::encode_q4_k_weighted);
}
void EncodeQ5_KWeighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  EncodeWeighted<Q5K>(src, weights, dst, n, scalar::encode_q5_k_weighted);
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(EncodeQ2_K);
HWY_EXPORT(EncodeQ4_K);
HWY_EXPORT(EncodeQ5_K);
HWY_EXPORT(EncodeQ2_KWeighted);
HWY_EXPORT(EncodeQ4_KWeighted);
HWY_EXPORT(EncodeQ5_KWeighted);

namespace kernels {

void encode_q2_k(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ2_K)(src, dst, n); }
void encode_q4_k(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ4_K)(src, dst, n); }
void encode_q5_k(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ5_K)(src, dst, n); }

void encode_q2_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeQ2_KWeighted)(src, weights, dst, n);
}
void encode_q4_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeQ4_KWeighted)(src, weights, dst, n);
}
void encode_q5_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeQ5_KWeighted)(src, weights, dst, n);
}

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
