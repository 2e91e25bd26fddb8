#include "codec/simd/legacy_scale_kernels.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "codec/scalar/block_support.hpp"
#include "codec/scalar/legacy.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/legacy_scale_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/float-inl.hpp"
#include "codec/simd/scale_search-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

constexpr std::size_t kBlock = scalar::kLegacyBlock;

/// The codes, 0 … 2·kHalf − 1, of the numbers from which the inverse was searched. None of those is so far from zero
/// that rounding in floating point would differ from the scalar one.
template <int kHalf>
HWY_INLINE VI Codes(const float* x, VF inverse) {
  const GroupF df;
  const auto code = SignedCode<kHalf, Ends::kBoth>(hn::Mul(inverse, hn::LoadU(df, x)));
  return hn::ConvertTo(GroupI(), hn::Add(code, hn::Set(df, static_cast<float>(kHalf))));
}

HWY_INLINE void StoreNibbles(VI low, VI high, std::byte* dst) {
  const hn::Rebind<std::uint8_t, GroupF> db;
  const auto fifteen = hn::Set(GroupI(), 15);
  const auto codes = hn::Or(hn::And(low, fifteen), hn::ShiftLeft<4>(hn::And(high, fifteen)));
  hn::StoreU(hn::DemoteTo(db, codes), db, reinterpret_cast<std::uint8_t*>(dst));
}

/// The fifth bits of a vector of codes, the first lowest.
HWY_INLINE std::uint32_t FifthBits(VI codes) {
  const GroupI di;
  const auto set = hn::Gt(codes, hn::Set(di, 15));
  std::uint8_t bits[8] = {};
  hn::StoreMaskBits(di, set, bits);
  std::uint32_t result = 0;
  std::memcpy(&result, bits, sizeof result);
  return result;
}

/// Codes of Q4_0. All are 0 where the numbers are tiny, and no inverse was found.
HWY_INLINE void StoreQ4(const float* x, float inverse, std::byte* dst) {
  const std::size_t lanes = hn::Lanes(GroupF());
  if (inverse == 0) {
    std::memset(dst, 0, kBlock / 2);
    return;
  }
  const auto factor = hn::Set(GroupF(), inverse);
  for (std::size_t j = 0; j < kBlock / 2; j += lanes) {
    StoreNibbles(Codes<8>(x + j, factor), Codes<8>(x + kBlock / 2 + j, factor), dst + j);
  }
}

/// Codes of Q5_0: the fifth bits in four bytes, then the other four bits of each.
HWY_INLINE void StoreQ5(const float* x, float inverse, std::byte* dst) {
  const std::size_t lanes = hn::Lanes(GroupF());
  if (inverse == 0) {
    std::memset(dst, 0, 4 + kBlock / 2);
    return;
  }
  const auto factor = hn::Set(GroupF(), inverse);
  std::uint32_t fifth = 0;
  for (std::size_t j = 0; j < kBlock / 2; j += lanes) {
    const auto low = Codes<16>(x + j, factor), high = Codes<16>(x + kBlock / 2 + j, factor);
    fifth |= FifthBits(low) << j | FifthBits(high) << (kBlock / 2 + j);
    StoreNibbles(low, high, dst + 4 + j);
  }
  std::memcpy(dst, &fifth, sizeof fifth);
}

/// The scales of as many blocks as there are lanes, or the `count` that are left. False when a number isn't finite.
template <int kHalf>
HWY_INLINE bool FitBlocks(const float* x, Weights weights, std::size_t count, float* HWY_RESTRICT scales,
                          float* HWY_RESTRICT inverses) {
  const GroupF df;
  Groups<kBlock> groups;
  const bool finite = Load<kBlock>(x, count, groups.x, groups.most);
  HWY_ALIGN float squares[kMaxGroups] = {};
  std::copy_n(weights.row_mean_squares, count, squares);
  WeighByImportance(weights.of, count, hn::Load(df, squares), groups);
  SearchScale<kHalf>(groups, scales, inverses);
  return finite;
}

/// Encodes batches of blocks of `kBytes`; `kStore` stores a block's codes, and `rest` encodes blocks that aren't
/// finite.
template <int kHalf, std::size_t kBytes, auto kStore>
HWY_INLINE void EncodeBlocks(const float* src, Weights weights, std::byte* dst, std::size_t n, WeightedEncodeFn rest) {
  HWY_ALIGN float scales[kMaxGroups];
  HWY_ALIGN float inverses[kMaxGroups];
  for (std::size_t left = n / kBlock; left != 0;) {
    const std::size_t blocks = std::min(left, hn::Lanes(GroupF()));
    if (HWY_LIKELY(FitBlocks<kHalf>(src, weights, blocks, scales, inverses))) {
      for (std::size_t b = 0; b < blocks; ++b) {
        scalar::store_scale(scales[b], dst + b * kBytes);
        kStore(src + b * kBlock, inverses[b], dst + b * kBytes + 2);
      }
    } else {
      rest(src, weights, dst, blocks * kBlock);
    }
    src += blocks * kBlock;
    weights.of += blocks * kBlock;
    weights.row_mean_squares += blocks;
    dst += blocks * kBytes;
    left -= blocks;
  }
}

void EncodeQ4_0Weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q4_0_weighted(src, weights, dst, n);
  EncodeBlocks<8, scalar::kQ4_0Bytes, &StoreQ4>(src, weights, dst, n, &scalar::encode_q4_0_weighted);
}

void EncodeQ5_0Weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q5_0_weighted(src, weights, dst, n);
  EncodeBlocks<16, scalar::kQ5_0Bytes, &StoreQ5>(src, weights, dst, n, &scalar::encode_q5_0_weighted);
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(EncodeQ4_0Weighted);
HWY_EXPORT(EncodeQ5_0Weighted);

namespace kernels {

void encode_q4_0_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeQ4_0Weighted)(src, weights, dst, n);
}
void encode_q5_0_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeQ5_0Weighted)(src, weights, dst, n);
}

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
