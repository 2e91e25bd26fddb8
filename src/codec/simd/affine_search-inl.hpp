// The search for a group's scale and offset (scalar/scale_search.hpp, search_scale_and_min), a group in each lane.
//
// Every lane does what the scalar search does, in its order; branches are masks. A try has two halves: the codes, their
// sums and the line through them; then the error of that line. Each half ends in divisions or a comparison that the
// next one waits for, so two batches take turns, and one's work covers the other's wait.
//
// Codes are made in floating point, which is the scalar function as long as nothing is 2^22 steps or more from the
// offset. Groups where something is, or that hold NaN or infinity, are marked as strange, for the scalar reference.
//
// Included once for each instruction set.
#if defined(HEADRACE_CODEC_SIMD_AFFINE_SEARCH_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEADRACE_CODEC_SIMD_AFFINE_SEARCH_INL_HPP
#undef HEADRACE_CODEC_SIMD_AFFINE_SEARCH_INL_HPP
#else
#define HEADRACE_CODEC_SIMD_AFFINE_SEARCH_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <limits>

#include "codec/scalar/scale_search.hpp"
#include "codec/simd/groups-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

using VecF = hn::Vec<GroupF>;

/// 1.5 · 2^23: a number added to it loses its fraction, to nearest even.
inline constexpr float kRounder = 12582912.0F;
inline constexpr float kFarSteps = 4194304.0F;  ///< 2^22: from here on that isn't so

/// What a search finds, a number a group.
struct AffineFits {
  float* scale;
  float* min;      ///< as it is added, so not above zero; ggml's has the other sign
  float* inverse;  ///< the codes are the nearest to inverse · (x − origin)
  float* origin;
  float* weight;   ///< the sum of the group's weights
  float* strange;  ///< not zero where the rest means nothing
};

/// A group of kSize numbers in each lane, and what is known of it. Arrays, for some targets' vectors can't be members.
template <std::size_t kSize>
struct AffineBatch {
  HWY_ALIGN float x[kSize * kMaxGroups];        // number i of group g at i · lanes + g
  HWY_ALIGN float weights[kSize * kMaxGroups];  // the same
  HWY_ALIGN float codes[kSize * kMaxGroups];    // of the line being tried

  HWY_ALIGN float low[kMaxGroups], high[kMaxGroups];  // the ends; low is not above zero
  HWY_ALIGN float weight[kMaxGroups], sum_x[kMaxGroups];
  HWY_ALIGN float scale[kMaxGroups], min[kMaxGroups], error[kMaxGroups];  // the best line so far
  HWY_ALIGN float inverse[kMaxGroups], origin[kMaxGroups];                // what its codes were made with
  HWY_ALIGN float tried_scale[kMaxGroups], tried_min[kMaxGroups];         // NaN where there is no line
  HWY_ALIGN float tried_inverse[kMaxGroups], tried_origin[kMaxGroups];
  HWY_ALIGN float strange[kMaxGroups];
};

template <std::size_t kSize>
HWY_INLINE void MarkStrange(AffineBatch<kSize>& batch, hn::Mask<GroupF> strange) {
  const GroupF df;
  if (HWY_LIKELY(hn::AllFalse(df, strange))) return;
  const auto mark = hn::IfThenElseZero(strange, hn::Set(df, 1.0F));
  hn::Store(hn::Max(mark, hn::Load(df, batch.strange)), df, batch.strange);
}

/// The weights of a batch whose numbers are filled in, with an importance matrix: `importance`, laid out as the numbers
/// were, times the root of x² and a mean square, of which there is one a lane.
template <std::size_t kSize>
HWY_INLINE void WeighByImportance(AffineBatch<kSize>& batch, const float* importance, std::size_t groups,
                                  const float* mean_squares) {
  const GroupF df;
  LoadGroups<kSize>(importance, groups, batch.weights);
  const auto mean_square = hn::LoadU(df, mean_squares);
  for (std::size_t i = 0; i < kSize * hn::Lanes(df); i += hn::Lanes(df)) {
    const auto x = hn::Load(df, batch.x + i);
    const auto root = hn::Sqrt(hn::Add(mean_square, hn::Mul(x, x)));
    hn::Store(hn::Mul(hn::Load(df, batch.weights + i), root), df, batch.weights + i);
  }
}

/// Fills in the ends and the sums that depend on no scale.
template <std::size_t kSize>
HWY_INLINE void MeasureGroups(AffineBatch<kSize>& batch) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  const auto zero = hn::Zero(df);
  auto low = hn::Load(df, batch.x), high = low;
  auto weight = zero, sum_x = zero;
  for (std::size_t i = 0; i < kSize; ++i) {
    const auto x = hn::Load(df, batch.x + i * lanes);
    const auto w = hn::Load(df, batch.weights + i * lanes);
    low = hn::IfThenElse(hn::Lt(x, low), x, low);
    high = hn::IfThenElse(hn::Gt(x, high), x, high);
    weight = hn::Add(weight, w);
    sum_x = hn::Add(sum_x, hn::Mul(w, x));
  }
  low = hn::IfThenElse(hn::Gt(low, zero), zero, low);
  hn::Store(low, df, batch.low);
  hn::Store(high, df, batch.high);
  hn::Store(weight, df, batch.weight);
  hn::Store(sum_x, df, batch.sum_x);
  hn::Store(zero, df, batch.strange);
  // NaN or infinity in a group is in its sums too.
  const auto infinity = hn::Set(df, std::numeric_limits<float>::infinity());
  MarkStrange(batch, hn::Not(hn::And(hn::Lt(weight, infinity), hn::Lt(hn::Abs(sum_x), infinity))));
}

/// The codes of a batch for steps of 1 / inverse from origin, and their weighted sums: of the codes, of their squares
/// and of x · code. `kAtMostTop`: the largest number is less than half a step above `top`, so that only the lower end
/// has to be cut off.
template <bool kAtMostTop, std::size_t kSize>
HWY_INLINE void MakeCodes(AffineBatch<kSize>& batch, VecF inverse, VecF origin, float top, VecF& sum_l, VecF& sum_l2,
                          VecF& sum_xl) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  const auto rounder = hn::Set(df, kRounder);
  const auto last = hn::Set(df, kRounder + top);

  // Between these two are all numbers. Written so that NaN is strange too.
  const auto from = hn::Mul(inverse, hn::Sub(hn::Load(df, batch.low), origin));
  const auto to = hn::Mul(inverse, hn::Sub(hn::Load(df, batch.high), origin));
  const auto end = hn::Set(df, kAtMostTop ? top + 0.49F : kFarSteps);
  const auto in_reach = hn::And(hn::Gt(from, hn::Set(df, -kFarSteps)), hn::And(hn::Le(from, to), hn::Lt(to, end)));
  MarkStrange(batch, hn::Not(in_reach));

  auto l = hn::Zero(df), l2 = hn::Zero(df), xl = hn::Zero(df);
  HWY_UNROLL(4)
  for (std::size_t i = 0; i < kSize; ++i) {
    const auto x = hn::Load(df, batch.x + i * lanes);
    const auto w = hn::Load(df, batch.weights + i * lanes);
    auto rounded = hn::Add(hn::Mul(inverse, hn::Sub(x, origin)), rounder);
    rounded = hn::Max(rounded, rounder);
    if constexpr (!kAtMostTop) rounded = hn::Min(rounded, last);
    const auto code = hn::Sub(rounded, rounder);
    hn::Store(code, df, batch.codes + i * lanes);
    const auto weighted = hn::Mul(w, code);
    l = hn::Add(l, weighted);
    l2 = hn::Add(l2, hn::Mul(weighted, code));
    xl = hn::Add(xl, hn::Mul(weighted, x));
  }
  sum_l = l;
  sum_l2 = l2;
  sum_xl = xl;
}

/// The weighted error of a batch's codes with a line.
template <bool kAbsolute, std::size_t kSize>
HWY_INLINE VecF ErrorOf(const AffineBatch<kSize>& batch, VecF scale, VecF min) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  auto error = hn::Zero(df);
  HWY_UNROLL(4)
  for (std::size_t i = 0; i < kSize; ++i) {
    const auto x = hn::Load(df, batch.x + i * lanes);
    const auto w = hn::Load(df, batch.weights + i * lanes);
    const auto code = hn::Load(df, batch.codes + i * lanes);
    const auto difference = hn::Sub(hn::Add(hn::Mul(scale, code), min), x);
    error = hn::Add(error, hn::Mul(w, kAbsolute ? hn::Abs(difference) : hn::Mul(difference, difference)));
  }
  return error;
}

/// The line of least squares through the codes, with an offset not above zero.
template <std::size_t kSize>
HWY_INLINE void FitLine(AffineBatch<kSize>& batch, VecF sum_l, VecF sum_l2, VecF sum_xl) {
  const GroupF df;
  const auto zero = hn::Zero(df);
  const auto weight = hn::Load(df, batch.weight);
  const auto sum_x = hn::Load(df, batch.sum_x);
  const auto determinant = hn::Sub(hn::Mul(weight, sum_l2), hn::Mul(sum_l, sum_l));
  auto scale = hn::Div(hn::Sub(hn::Mul(weight, sum_xl), hn::Mul(sum_x, sum_l)), determinant);
  auto min = hn::Div(hn::Sub(hn::Mul(sum_l2, sum_x), hn::Mul(sum_l, sum_xl)), determinant);
  const auto above = hn::Gt(min, zero);
  if (HWY_UNLIKELY(!hn::AllFalse(df, above))) {
    scale = hn::IfThenElse(above, hn::Div(sum_xl, sum_l2), scale);
    min = hn::IfThenElse(above, zero, min);
  }
  // Without a line the error is NaN, which is never less than the best.
  const auto none = hn::Set(df, std::numeric_limits<float>::quiet_NaN());
  hn::Store(hn::IfThenElse(hn::Gt(determinant, zero), scale, none), df, batch.tried_scale);
  hn::Store(min, df, batch.tried_min);
}

/// The first line: from the lowest number to the highest.
template <bool kAbsolute, std::size_t kSize>
HWY_INLINE void StartSearch(AffineBatch<kSize>& batch, float top) {
  const GroupF df;
  const auto zero = hn::Zero(df), one = hn::Set(df, 1.0F);
  const auto low = hn::Load(df, batch.low);
  auto high = hn::Load(df, batch.high);
  // A group of one number over and over has a scale and codes of zero. Its error of zero keeps every try out; another
  // high end keeps those tries' numbers ordinary.
  const auto constant = hn::Eq(low, high);
  high = hn::IfThenElse(constant, hn::IfThenElseZero(hn::Eq(low, zero), one), high);
  hn::Store(high, df, batch.high);

  const auto plain = hn::IfThenZeroElse(constant, hn::Div(hn::Set(df, top), hn::Sub(high, low)));
  const auto scale = hn::IfThenZeroElse(constant, hn::Div(one, plain));
  auto unused = zero;
  MakeCodes<true>(batch, plain, low, top, unused, unused, unused);
  const auto error = ErrorOf<kAbsolute>(batch, scale, low);
  hn::Store(hn::IfThenZeroElse(constant, error), df, batch.error);
  hn::Store(scale, df, batch.scale);
  hn::Store(low, df, batch.min);
  hn::Store(plain, df, batch.inverse);
  hn::Store(low, df, batch.origin);
}

/// The first half of a try: codes of `steps` steps between the best offset so far and the high end, and their line.
template <std::size_t kSize>
HWY_INLINE void TryLine(AffineBatch<kSize>& batch, float steps, float top) {
  const GroupF df;
  const auto origin = hn::Load(df, batch.min);
  const auto inverse = hn::Div(hn::Set(df, steps), hn::Sub(hn::Load(df, batch.high), origin));
  hn::Store(inverse, df, batch.tried_inverse);
  hn::Store(origin, df, batch.tried_origin);
  auto l = hn::Zero(df), l2 = hn::Zero(df), xl = hn::Zero(df);
  if (steps < top + 0.45F) {
    MakeCodes<true>(batch, inverse, origin, top, l, l2, xl);
  } else {
    MakeCodes<false>(batch, inverse, origin, top, l, l2, xl);
  }
  FitLine(batch, l, l2, xl);
}

/// The second half: the line is kept where it is better.
template <bool kAbsolute, std::size_t kSize>
HWY_INLINE void JudgeLine(AffineBatch<kSize>& batch) {
  const GroupF df;
  const auto scale = hn::Load(df, batch.tried_scale), min = hn::Load(df, batch.tried_min);
  const auto error = ErrorOf<kAbsolute>(batch, scale, min);
  const auto best = hn::Load(df, batch.error);
  const auto better = hn::Lt(error, best);
  const auto keep = [&](VecF tried, float* kept)
                        HWY_ATTR { hn::Store(hn::IfThenElse(better, tried, hn::Load(df, kept)), df, kept); };
  hn::Store(hn::IfThenElse(better, error, best), df, batch.error);
  keep(scale, batch.scale);
  keep(min, batch.min);
  keep(hn::Load(df, batch.tried_inverse), batch.inverse);
  keep(hn::Load(df, batch.tried_origin), batch.origin);
}

/// Searches two batches whose numbers and weights are filled in.
template <bool kAbsolute, std::size_t kSize>
HWY_NOINLINE void SearchPair(AffineBatch<kSize>& a, AffineBatch<kSize>& b, const scalar::AffineSearch& search) {
  const float top = static_cast<float>(search.top);
  const auto steps = [&](std::int32_t k) { return search.first + search.step * static_cast<float>(k) + top; };
  MeasureGroups(a);
  MeasureGroups(b);
  StartSearch<kAbsolute>(a, top);
  StartSearch<kAbsolute>(b, top);
  TryLine(a, steps(0), top);
  JudgeLine<kAbsolute>(a);
  TryLine(b, steps(0), top);
  for (std::int32_t k = 1; k <= search.last; ++k) {
    TryLine(a, steps(k), top);
    JudgeLine<kAbsolute>(b);
    JudgeLine<kAbsolute>(a);
    TryLine(b, steps(k), top);
  }
  JudgeLine<kAbsolute>(b);
}

/// Hands out what was found, at `group` and the lanes after it. A scale below zero, which only rounding can make of
/// numbers that nearly agree, is strange too: what the types do with it isn't worth a vector.
template <std::size_t kSize>
HWY_INLINE void StoreFits(AffineBatch<kSize>& batch, const AffineFits& fits, std::size_t group) {
  const GroupF df;
  const auto scale = hn::Load(df, batch.scale);
  MarkStrange(batch, hn::Lt(scale, hn::Zero(df)));
  hn::StoreU(scale, df, fits.scale + group);
  hn::StoreU(hn::Load(df, batch.min), df, fits.min + group);
  hn::StoreU(hn::Load(df, batch.inverse), df, fits.inverse + group);
  hn::StoreU(hn::Load(df, batch.origin), df, fits.origin + group);
  hn::StoreU(hn::Load(df, batch.weight), df, fits.weight + group);
  hn::StoreU(hn::Load(df, batch.strange), df, fits.strange + group);
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
