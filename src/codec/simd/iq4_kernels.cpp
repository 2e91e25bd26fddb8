#include "codec/simd/iq4_kernels.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "codec/scalar/block_support.hpp"
#include "codec/scalar/iq4.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/iq4_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/float-inl.hpp"
#include "codec/simd/iq4_levels-inl.hpp"
#include "codec/simd/scale_search-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

constexpr std::size_t kGroup = 32;

HWY_INLINE void AddToSums(VF x, VF weight, VF inverse, VF& xq, VF& qq) {
  const auto value = NearestValue(hn::Mul(inverse, x));
  const auto weighted = hn::Mul(weight, value);
  xq = hn::Add(xq, hn::Mul(weighted, x));
  qq = hn::Add(qq, hn::Mul(weighted, value));
}

constexpr int kSpan = 7;  // whole steps to either side of −127
constexpr std::size_t kTrials = 2 * kSpan + 2;
using Iq4Trials = Trials<kTrials>;

/// The sums of two trials at a time: the look-ups of one hide the additions of the other.
HWY_INLINE void TryTwo(const Groups<kGroup>& groups, std::size_t trial, Iq4Trials& trials) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  const std::size_t a = trial * lanes, b = a + lanes;
  const auto inverse_a = hn::Load(df, trials.inverse + a);
  const auto inverse_b = hn::Load(df, trials.inverse + b);
  auto xq_a = hn::Zero(df), xq_b = xq_a;
  auto qq_a = xq_a, qq_b = xq_a;
  for (std::size_t i = 0; i < kGroup * lanes; i += lanes) {
    const auto x = hn::Load(df, groups.x + i);
    const auto weight = hn::Load(df, groups.weight + i);
    AddToSums(x, weight, inverse_a, xq_a, qq_a);
    AddToSums(x, weight, inverse_b, xq_b, qq_b);
  }
  StoreSums(xq_a, qq_a, a, trials);
  StoreSums(xq_b, qq_b, b, trials);
}

/// The scale that fits each group best: of the plain one, which gives the largest number the value −127, and of 15 that
/// give it −134 to −120.
HWY_INLINE VF FitScales(const Groups<kGroup>& groups) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  Iq4Trials trials;
  const auto most = hn::Load(df, groups.most);
  const auto plain = hn::Div(hn::Neg(most), hn::Set(df, -127.0F));
  hn::Store(hn::Div(hn::Set(df, 1.0F), plain), df, trials.inverse);
  for (std::size_t k = 1; k < kTrials; ++k) {
    const float steps = static_cast<float>(static_cast<int>(k) - 1 - kSpan) - 127.0F;
    hn::Store(hn::Div(hn::Set(df, steps), most), df, trials.inverse + k * lanes);
  }
  for (std::size_t k = 0; k < kTrials; k += 2) TryTwo(groups, k, trials);

  const auto xq = hn::Load(df, trials.xl);
  const auto qq = hn::Load(df, trials.ll);
  auto scale = hn::IfThenElseZero(hn::Gt(qq, hn::Zero(df)), hn::Div(xq, qq));
  auto best = hn::Mul(scale, xq);
  auto inverse = hn::Zero(df);  // not asked for: codes follow the scale here
  KeepBest(trials, 1, kTrials, scale, best, inverse);
  const auto tiny = hn::Lt(hn::Abs(most), hn::Set(df, scalar::kTiny));
  return hn::IfThenZeroElse(tiny, scale);
}

/// Stores the 16 bytes of a group's codes.
HWY_INLINE void StoreCodes(const float* x, float scale, std::byte* dst) {
  const GroupF df;
  const hn::Rebind<std::uint8_t, GroupF> db;
  const auto inverse = hn::Set(df, scale != 0 ? 1 / scale : 0);
  for (std::size_t j = 0; j < kGroup / 2; j += hn::Lanes(df)) {
    const auto low = NearestCode(hn::Mul(inverse, hn::LoadU(df, x + j)));
    const auto high = NearestCode(hn::Mul(inverse, hn::LoadU(df, x + kGroup / 2 + j)));
    const auto codes = hn::Or(low, hn::ShiftLeft<4>(high));
    hn::StoreU(hn::DemoteTo(db, codes), db, reinterpret_cast<std::uint8_t*>(dst + j));
  }
}

/// The factor that makes a sum of squares twice their mean.
constexpr float DoubleMean(std::size_t size) { return 2.0F / static_cast<float>(size); }

// In what follows there is no importance matrix where `importance` is null.

/// Blocks of IQ4_NL, as many as there are lanes or the `count` that are left. False when a number isn't finite.
HWY_INLINE bool FitBlocks(const float* x, const float* importance, std::size_t count, float* HWY_RESTRICT scales) {
  const GroupF df;
  Groups<kGroup> groups;
  const bool finite = Load<kGroup>(x, count, groups.x, groups.most);
  if (importance != nullptr) {
    const auto square = hn::Mul(SumOfSquares<kGroup>(groups.x), hn::Set(df, DoubleMean(kGroup)));
    WeighByImportance(importance, count, square, groups);
  } else {
    WeighBySquares(groups);
  }
  hn::Store(FitScales(groups), df, scales);
  return finite;
}

HWY_INLINE void EncodeNlBlocks(const float* src, const float* importance, std::byte* dst, std::size_t n) {
  HWY_ALIGN float scales[kMaxGroups];
  for (std::size_t at = 0; at < n;) {
    const std::size_t blocks = std::min((n - at) / kGroup, hn::Lanes(GroupF()));
    const float* const weights = importance == nullptr ? nullptr : importance + at;
    if (HWY_LIKELY(FitBlocks(src + at, weights, blocks, scales))) {
      for (std::size_t b = 0; b < blocks; ++b) {
        std::byte* const block = dst + b * scalar::kIq4NlBytes;
        scalar::store_scale(scales[b], block);
        StoreCodes(src + at + b * kGroup, scales[b], block + 2);
      }
    } else if (importance != nullptr) {
      scalar::encode_iq4_nl_weighted(src + at, {weights, nullptr}, dst, blocks * kGroup);
    } else {
      scalar::encode_iq4_nl(src + at, dst, blocks * kGroup);
    }
    at += blocks * kGroup;
    dst += blocks * scalar::kIq4NlBytes;
  }
}

void EncodeIQ4_NL(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_iq4_nl(src, dst, n);
  EncodeNlBlocks(src, nullptr, dst, n);
}

void EncodeIQ4_NLWeighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_iq4_nl_weighted(src, weights, dst, n);
  EncodeNlBlocks(src, weights.of, dst, n);
}

constexpr std::size_t kXsGroups = scalar::kIq4XsBlock / kGroup;

/// A block from the scales that fit its groups.
HWY_INLINE void StoreIQ4_XS(const float* x, const float* fits, std::byte* dst) {
  const float d = -scalar::largest(std::span(fits, kXsGroups)) / 32;
  const float inverse = d != 0 ? 1 / d : 0;
  std::memset(dst, 0, 8);
  scalar::store_scale(d, dst);
  for (std::size_t g = 0; g < kXsGroups; ++g) {
    const std::int32_t scale = std::clamp(scalar::nearest(inverse * fits[g]), -32, 31);
    const std::uint32_t biased = static_cast<std::uint32_t>(scale + 32);
    scalar::put_bits(dst, {4 + g / 2, g % 2 * 4}, biased & 15);
    scalar::put_bits(dst, {2 + g / 4, g % 4 * 2}, biased >> 4);
    StoreCodes(x + g * kGroup, d * static_cast<float>(scale), dst + 8 + g * kGroup / 2);
  }
}

/// The same for groups of IQ4_XS, from group `first` of some blocks on. `squares` holds what the numbers of each block
/// have in common in their weights.
HWY_INLINE bool FitGroups(const float* x, const float* importance, const float* squares, std::size_t first,
                          std::size_t count, float* HWY_RESTRICT scales) {
  const GroupF df;
  Groups<kGroup> groups;
  const bool finite = Load<kGroup>(x + first * kGroup, count, groups.x, groups.most);
  if (importance != nullptr) {
    HWY_ALIGN float square[kMaxGroups] = {};
    for (std::size_t g = 0; g < count; ++g) square[g] = squares[(first + g) / kXsGroups];
    WeighByImportance(importance + first * kGroup, count, hn::Load(df, square), groups);
  } else {
    WeighBySquares(groups);
  }
  hn::Store(FitScales(groups), df, scales + first);
  return finite;
}

HWY_INLINE void EncodeXsBlocks(const float* src, const float* importance, std::byte* dst, std::size_t n) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  HWY_ALIGN float squares[kMaxGroups];
  HWY_ALIGN float scales[kMaxGroups * kXsGroups];
  for (std::size_t at = 0; at < n;) {
    const std::size_t blocks = std::min((n - at) / scalar::kIq4XsBlock, lanes);
    const float* const x = src + at;
    const float* const weights = importance == nullptr ? nullptr : importance + at;
    if (importance != nullptr) {
      const auto sums = SumOfBlockSquares(x, blocks);
      hn::Store(hn::Mul(sums, hn::Set(df, DoubleMean(scalar::kIq4XsBlock))), df, squares);
    }
    const std::size_t count = blocks * kXsGroups;
    bool finite = true;
    for (std::size_t g = 0; g < count && finite; g += lanes) {
      finite = FitGroups(x, weights, squares, g, std::min(lanes, count - g), scales);
    }
    if (HWY_LIKELY(finite)) {
      for (std::size_t b = 0; b < blocks; ++b) {
        StoreIQ4_XS(x + b * scalar::kIq4XsBlock, scales + b * kXsGroups, dst + b * scalar::kIq4XsBytes);
      }
    } else if (importance != nullptr) {
      scalar::encode_iq4_xs_weighted(x, {weights, nullptr}, dst, blocks * scalar::kIq4XsBlock);
    } else {
      scalar::encode_iq4_xs(x, dst, blocks * scalar::kIq4XsBlock);
    }
    at += blocks * scalar::kIq4XsBlock;
    dst += blocks * scalar::kIq4XsBytes;
  }
}

void EncodeIQ4_XS(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_iq4_xs(src, dst, n);
  EncodeXsBlocks(src, nullptr, dst, n);
}

void EncodeIQ4_XSWeighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_iq4_xs_weighted(src, weights, dst, n);
  EncodeXsBlocks(src, weights.of, dst, n);
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(EncodeIQ4_NL);
HWY_EXPORT(EncodeIQ4_NLWeighted);
HWY_EXPORT(EncodeIQ4_XS);
HWY_EXPORT(EncodeIQ4_XSWeighted);

namespace kernels {

void encode_iq4_nl(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeIQ4_NL)(src, dst, n); }
void encode_iq4_xs(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeIQ4_XS)(src, dst, n); }

void encode_iq4_nl_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeIQ4_NLWeighted)(src, weights, dst, n);
}
void encode_iq4_xs_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeIQ4_XSWeighted)(src, weights, dst, n);
}

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
