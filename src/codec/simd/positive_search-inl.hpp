// The search that makes scales and offsets integers when weights are given (scalar/scale_search.hpp,
// search_positive_scale), the scales or the offsets of one block in each lane.
//
// Numbers are finite and not negative. Every lane does what the scalar search does, in its order.
//
// Included once for each instruction set.
#if defined(HEADRACE_CODEC_SIMD_POSITIVE_SEARCH_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEADRACE_CODEC_SIMD_POSITIVE_SEARCH_INL_HPP
#undef HEADRACE_CODEC_SIMD_POSITIVE_SEARCH_INL_HPP
#else
#define HEADRACE_CODEC_SIMD_POSITIVE_SEARCH_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "codec/scalar/scale_search.hpp"
#include "codec/simd/affine_search-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

/// kCount numbers in each lane: number i of lane b at [i · kMaxGroups + b], for as many lanes as a search is given.
template <std::size_t kCount>
struct PositiveBatch {
  HWY_ALIGN float x[kCount * kMaxGroups];
  HWY_ALIGN float weights[kCount * kMaxGroups];
  HWY_ALIGN float codes[kCount * kMaxGroups];
  HWY_ALIGN float scale[kMaxGroups];
  HWY_ALIGN float strange[kMaxGroups];  // not zero where the rest means nothing
};

/// The code, 0 … top, of a number that is less than 2^22 steps above zero.
HWY_INLINE VecF CodeUpTo(VecF top, VecF steps) {
  const auto rounder = hn::Set(GroupF(), kRounder);
  return hn::Min(hn::Sub(hn::Add(steps, rounder), rounder), top);
}

/// The weighted squared error of one inverse scale.
template <std::size_t kCount>
HWY_INLINE VecF PositiveError(const PositiveBatch<kCount>& batch, std::size_t lane, VecF inverse, VecF top) {
  const GroupF df;
  const auto scale = hn::Div(hn::Set(df, 1.0F), inverse);
  auto error = hn::Zero(df);
  for (std::size_t i = lane; i < kCount * kMaxGroups; i += kMaxGroups) {
    const auto x = hn::Load(df, batch.x + i);
    const auto difference = hn::Sub(x, hn::Mul(scale, CodeUpTo(top, hn::Mul(inverse, x))));
    error = hn::Add(error, hn::Mul(hn::Mul(hn::Load(df, batch.weights + i), difference), difference));
  }
  return error;
}

/// The best of nine inverse scales.
template <std::size_t kCount>
HWY_INLINE VecF BestInverse(const PositiveBatch<kCount>& batch, std::size_t lane, VecF most, float top) {
  const GroupF df;
  const auto tops = hn::Set(df, top);
  auto best = hn::Div(tops, most);
  auto best_error = PositiveError(batch, lane, best, tops);
  for (std::int32_t tenths = -4; tenths <= 4; ++tenths) {
    if (tenths == 0) continue;
    const auto inverse = hn::Div(hn::Set(df, 0.1F * static_cast<float>(tenths) + top), most);
    const auto error = PositiveError(batch, lane, inverse, tops);
    const auto better = hn::Lt(error, best_error);
    best_error = hn::IfThenElse(better, error, best_error);
    best = hn::IfThenElse(better, inverse, best);
  }
  return best;
}

/// Moves each code once to where the others' best scale would put it, if the fit gains. Returns whether any moved.
template <std::size_t kCount>
HWY_INLINE bool ImprovePositive(PositiveBatch<kCount>& batch, std::size_t lane, VecF top, VecF& xl, VecF& ll) {
  const GroupF df;
  const auto zero = hn::Zero(df), far = hn::Set(df, kFarSteps);
  auto any = zero, strange = zero;
  for (std::size_t i = lane; i < kCount * kMaxGroups; i += kMaxGroups) {
    const auto w = hn::Load(df, batch.weights + i);
    const auto code = hn::Load(df, batch.codes + i);
    const auto x = hn::Load(df, batch.x + i);
    const auto wx = hn::Mul(w, x);
    auto others_xl = hn::Sub(xl, hn::Mul(wx, code));
    auto others_ll = hn::Sub(ll, hn::Mul(hn::Mul(w, code), code));
    const auto positive = hn::And(hn::Gt(others_xl, zero), hn::Gt(others_ll, zero));
    const auto steps = hn::Div(hn::Mul(x, others_ll), others_xl);
    strange = hn::IfThenElse(hn::AndNot(hn::Lt(steps, far), positive), hn::Set(df, 1.0F), strange);
    const auto better = CodeUpTo(top, steps);
    others_xl = hn::Add(others_xl, hn::Mul(wx, better));
    others_ll = hn::Add(others_ll, hn::Mul(hn::Mul(w, better), better));
    const auto gain = hn::Gt(hn::Mul(hn::Mul(others_xl, others_xl), ll), hn::Mul(hn::Mul(xl, xl), others_ll));
    const auto moves = hn::And(positive, hn::And(hn::Ne(better, code), gain));
    xl = hn::IfThenElse(moves, others_xl, xl);
    ll = hn::IfThenElse(moves, others_ll, ll);
    hn::Store(hn::IfThenElse(moves, better, code), df, batch.codes + i);
    any = hn::IfThenElse(moves, hn::Set(df, 1.0F), any);
  }
  hn::Store(hn::Max(strange, hn::Load(df, batch.strange + lane)), df, batch.strange + lane);
  return !hn::AllFalse(df, hn::Gt(any, zero));
}

/// Finds the scales and codes of the lanes of one vector, from `lane` on.
template <std::size_t kCount>
HWY_INLINE void SearchPositive(PositiveBatch<kCount>& batch, std::size_t lane, float top) {
  const GroupF df;
  const auto zero = hn::Zero(df), tops = hn::Set(df, top);
  constexpr std::size_t kEnd = kCount * kMaxGroups;
  auto most = zero;
  for (std::size_t i = lane; i < kEnd; i += kMaxGroups) most = hn::Max(most, hn::Load(df, batch.x + i));
  // Numbers that are all tiny count as zeros; in their place ordinary ones keep the search's numbers ordinary.
  const auto tiny = hn::Lt(most, hn::Set(df, scalar::kTiny));
  most = hn::IfThenElse(tiny, hn::Set(df, 1.0F), most);
  hn::Store(zero, df, batch.strange + lane);

  const auto inverse = BestInverse(batch, lane, most, top);
  auto xl = zero, ll = zero;
  for (std::size_t i = lane; i < kEnd; i += kMaxGroups) {
    const auto w = hn::Load(df, batch.weights + i);
    const auto x = hn::Load(df, batch.x + i);
    const auto code = hn::IfThenZeroElse(tiny, CodeUpTo(tops, hn::Mul(inverse, x)));
    hn::Store(code, df, batch.codes + i);
    xl = hn::Add(xl, hn::Mul(hn::Mul(w, x), code));
    ll = hn::Add(ll, hn::Mul(hn::Mul(w, code), code));
  }
  // A lane that has come to rest stays so, so all may go on for as long as one moves. One of zeros never moves: its
  // sums are zero.
  for (int round = 0; round < 5 && ImprovePositive(batch, lane, tops, xl, ll);) ++round;
  hn::Store(hn::IfThenElseZero(hn::Gt(ll, zero), hn::Div(xl, ll)), df, batch.scale + lane);
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
