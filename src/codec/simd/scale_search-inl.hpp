// The searches for a scale of codec/scalar/scale_search.hpp, for a group in each lane.
//
// Every lane does what the scalar search does, in its order: only its branches are masks here. So groups of any finite
// numbers give the same scales; those with NaN or infinity are for the caller to find (Load tells) and to leave to the
// scalar reference. Included once for each instruction set, after hwy/highway.h.
#if defined(HEADRACE_CODEC_SIMD_SCALE_SEARCH_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEADRACE_CODEC_SIMD_SCALE_SEARCH_INL_HPP
#undef HEADRACE_CODEC_SIMD_SCALE_SEARCH_INL_HPP
#else
#define HEADRACE_CODEC_SIMD_SCALE_SEARCH_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "codec/scalar/scale_search.hpp"
#include "codec/simd/groups-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

using VF = hn::Vec<GroupF>;
using VI = hn::Vec<GroupI>;

/// Adding and taking away 1.5 · 2^23 rounds to the nearest integer, ties to even, below 2^22.
inline constexpr float kRounder = 12582912.0F;

/// Number i of group g is at [i * Lanes + g].
template <std::size_t kSize>
struct Groups {
  HWY_ALIGN float x[kSize * kMaxGroups];
  HWY_ALIGN float weight[kSize * kMaxGroups];
  HWY_ALIGN float weighted[kSize * kMaxGroups];  // weight · x
  HWY_ALIGN float most[kMaxGroups];              // the first of the largest in magnitude
};

/// Loads the numbers of `count` groups and finds the largest of each in magnitude. False when one isn't finite.
template <std::size_t kSize>
HWY_INLINE bool Load(const float* from, std::size_t count, float* HWY_RESTRICT to, float* HWY_RESTRICT largest) {
  const GroupF df;
  const GroupI di;
  const std::size_t lanes = hn::Lanes(df);
  LoadGroups<kSize>(from, count, to);
  auto most = hn::Zero(df);
  auto value = hn::Zero(df);
  auto worst = hn::Zero(di);  // as bits: in that order NaN comes above infinity
  for (std::size_t i = 0; i < kSize; ++i) {
    const auto x = hn::Load(df, to + i * lanes);
    const auto magnitude = hn::Abs(x);
    const auto more = hn::Lt(most, magnitude);
    most = hn::IfThenElse(more, magnitude, most);
    value = hn::IfThenElse(more, x, value);
    worst = hn::Max(worst, hn::BitCast(di, magnitude));
  }
  hn::Store(value, df, largest);
  return hn::AllTrue(di, hn::Lt(worst, hn::Set(di, 0x7F800000)));
}

/// Without anything known about the numbers' importance each weighs its square.
template <std::size_t kSize>
HWY_INLINE void WeighBySquares(Groups<kSize>& groups) {
  const GroupF df;
  for (std::size_t i = 0; i < kSize * hn::Lanes(df); i += hn::Lanes(df)) {
    const auto x = hn::Load(df, groups.x + i);
    const auto weight = hn::Mul(x, x);
    hn::Store(weight, df, groups.weight + i);
    hn::Store(hn::Mul(weight, x), df, groups.weighted + i);
  }
}

/// Each number weighs what `from` says, which is laid out as the numbers were.
template <std::size_t kSize>
HWY_INLINE void Weigh(const float* from, std::size_t count, Groups<kSize>& groups) {
  const GroupF df;
  LoadGroups<kSize>(from, count, groups.weight);
  for (std::size_t i = 0; i < kSize * hn::Lanes(df); i += hn::Lanes(df)) {
    hn::Store(hn::Mul(hn::Load(df, groups.weight + i), hn::Load(df, groups.x + i)), df, groups.weighted + i);
  }
}

/// Each number weighs what `importance` says times √(mean_square + x²), so that small ones count too. There is a mean
/// square for each group: of its row or block. Returns the sum of the weights of each.
template <std::size_t kSize>
HWY_INLINE VF WeighByImportance(const float* importance, std::size_t count, VF mean_square, Groups<kSize>& groups) {
  const GroupF df;
  LoadGroups<kSize>(importance, count, groups.weight);
  auto sum = hn::Zero(df);
  for (std::size_t i = 0; i < kSize * hn::Lanes(df); i += hn::Lanes(df)) {
    const auto x = hn::Load(df, groups.x + i);
    const auto root = hn::Sqrt(hn::Add(mean_square, hn::Mul(x, x)));
    const auto weight = hn::Mul(hn::Load(df, groups.weight + i), root);
    hn::Store(weight, df, groups.weight + i);
    hn::Store(hn::Mul(weight, x), df, groups.weighted + i);
    sum = hn::Add(sum, weight);
  }
  return sum;
}

/// The sum of the squares of each group, in order.
template <std::size_t kSize>
HWY_INLINE VF SumOfSquares(const float* HWY_RESTRICT x) {
  const GroupF df;
  auto sum = hn::Zero(df);
  for (std::size_t i = 0; i < kSize * hn::Lanes(df); i += hn::Lanes(df)) {
    const auto number = hn::Load(df, x + i);
    sum = hn::Add(sum, hn::Mul(number, number));
  }
  return sum;
}

/// The sums of the squares of `count` blocks of 256, at most as many as there are lanes. They are made in order, which
/// takes as long for one block as for all.
HWY_INLINE VF SumOfBlockSquares(const float* from, std::size_t count) {
  constexpr std::size_t kBlock = 256;
  HWY_ALIGN float x[kBlock * kMaxGroups];
  LoadGroups<kBlock>(from, count, x);
  return SumOfSquares<kBlock>(x);
}

/// The inverse scales tried and the sums that each gave, in the order in which they compete.
template <std::size_t kCount>
struct Trials {
  HWY_ALIGN float inverse[kCount * kMaxGroups];
  HWY_ALIGN float xl[kCount * kMaxGroups];  // weighted sum of x · code
  HWY_ALIGN float ll[kCount * kMaxGroups];  // weighted sum of code²
};

/// Goes through trials as the scalar search does, from the scale and inverse found so far. Nothing but `best`, how much
/// of the weighted squares the scale accounts for, is handed from one to the next, so the divisions of several overlap.
template <std::size_t kCount>
HWY_INLINE void KeepBest(const Trials<kCount>& trials, std::size_t first, std::size_t last, VF& scale, VF& best,
                         VF& inverse) {
  const GroupF df;
  for (std::size_t at = first * hn::Lanes(df); at < last * hn::Lanes(df); at += hn::Lanes(df)) {
    const auto xl = hn::Load(df, trials.xl + at);
    const auto ll = hn::Load(df, trials.ll + at);
    const auto tried = hn::Div(xl, ll);
    const auto fits = hn::Gt(hn::Mul(xl, xl), hn::Mul(best, ll));
    const auto better = hn::And(hn::Gt(ll, hn::Zero(df)), fits);
    scale = hn::IfThenElse(better, tried, scale);
    best = hn::IfThenElse(better, hn::Mul(tried, xl), best);
    inverse = hn::IfThenElse(better, hn::Load(df, trials.inverse + at), inverse);
  }
}

template <std::size_t kCount>
HWY_INLINE void StoreSums(VF xl, VF ll, std::size_t at, Trials<kCount>& trials) {
  hn::Store(xl, GroupF(), trials.xl + at);
  hn::Store(ll, GroupF(), trials.ll + at);
}

/// The ends that codes have to be held to. A trial puts the largest number that many steps from zero: with kHalf − 0.6
/// or fewer no code reaches past an end, and with kHalf + 0.4 or fewer none past the lower.
enum class Ends { kNone, kUpper, kBoth };

template <int kHalf, Ends kEnds>
HWY_INLINE VF SignedCode(VF steps) {
  const GroupF df;
  auto code = hn::Add(steps, hn::Set(df, kRounder));
  if constexpr (kEnds != Ends::kNone) code = hn::Min(code, hn::Set(df, kRounder + static_cast<float>(kHalf - 1)));
  if constexpr (kEnds == Ends::kBoth) code = hn::Max(code, hn::Set(df, kRounder - static_cast<float>(kHalf)));
  return hn::Sub(code, hn::Set(df, kRounder));
}

template <int kHalf, Ends kEnds>
HWY_INLINE void AddToSums(VF x, VF weight, VF weighted, VF inverse, VF& xl, VF& ll) {
  const auto code = SignedCode<kHalf, kEnds>(hn::Mul(inverse, x));
  xl = hn::Add(xl, hn::Mul(weighted, code));
  ll = hn::Add(ll, hn::Mul(hn::Mul(weight, code), code));
}

/// The sums of four or five trials at a time, for one alone would wait for each of its additions.
template <int kHalf, Ends kEnds, bool kFifth, std::size_t kSize, std::size_t kCount>
HWY_INLINE void TrySome(const Groups<kSize>& groups, std::size_t trial, Trials<kCount>& trials) {
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  const std::size_t a = trial * lanes, b = a + lanes, c = b + lanes, d = c + lanes, e = kFifth ? d + lanes : d;
  const auto inverse_a = hn::Load(df, trials.inverse + a);
  const auto inverse_b = hn::Load(df, trials.inverse + b);
  const auto inverse_c = hn::Load(df, trials.inverse + c);
  const auto inverse_d = hn::Load(df, trials.inverse + d);
  const auto inverse_e = hn::Load(df, trials.inverse + e);
  auto xl_a = hn::Zero(df), xl_b = xl_a, xl_c = xl_a, xl_d = xl_a, xl_e = xl_a;
  auto ll_a = xl_a, ll_b = xl_a, ll_c = xl_a, ll_d = xl_a, ll_e = xl_a;
  for (std::size_t i = 0; i < kSize * lanes; i += lanes) {
    const auto x = hn::Load(df, groups.x + i);
    const auto weight = hn::Load(df, groups.weight + i);
    const auto weighted = hn::Load(df, groups.weighted + i);
    AddToSums<kHalf, kEnds>(x, weight, weighted, inverse_a, xl_a, ll_a);
    AddToSums<kHalf, kEnds>(x, weight, weighted, inverse_b, xl_b, ll_b);
    AddToSums<kHalf, kEnds>(x, weight, weighted, inverse_c, xl_c, ll_c);
    AddToSums<kHalf, kEnds>(x, weight, weighted, inverse_d, xl_d, ll_d);
    if constexpr (kFifth) AddToSums<kHalf, kEnds>(x, weight, weighted, inverse_e, xl_e, ll_e);
  }
  StoreSums(xl_a, ll_a, a, trials);
  StoreSums(xl_b, ll_b, b, trials);
  StoreSums(xl_c, ll_c, c, trials);
  StoreSums(xl_d, ll_d, d, trials);
  if constexpr (kFifth) StoreSums(xl_e, ll_e, e, trials);
}

/// scalar::search_scale. `scale[g]` is the scale of group g, and `inverse[g]` what its numbers were multiplied with to
/// get their codes, or 0 where they are tiny and all codes 0.
template <int kHalf, std::size_t kSize>
HWY_INLINE void SearchScale(const Groups<kSize>& groups, float* HWY_RESTRICT scale, float* HWY_RESTRICT inverse) {
  constexpr int kSpan = 9;                        // tenths of a step to either side
  constexpr std::size_t kTrials = 2 * kSpan + 1;  // the one in the middle is the plain scale
  constexpr float kSteps = static_cast<float>(kHalf);
  const GroupF df;
  const std::size_t lanes = hn::Lanes(df);
  Trials<kTrials> trials;
  const auto most = hn::Load(df, groups.most);
  for (std::size_t k = 0; k < kTrials; ++k) {
    const float steps = -(kSteps + 0.1F * static_cast<float>(static_cast<int>(k) - kSpan));
    hn::Store(hn::Div(hn::Set(df, steps), most), df, trials.inverse + k * lanes);
  }
  TrySome<kHalf, Ends::kUpper, true>(groups, 9, trials);  // 0 … 0.4
  const auto xl = hn::Load(df, trials.xl + kSpan * lanes);
  const auto ll = hn::Load(df, trials.ll + kSpan * lanes);
  auto found = hn::IfThenZeroElse(hn::Eq(ll, hn::Zero(df)), hn::Div(xl, ll));
  auto best = hn::Mul(found, xl);
  auto found_inverse = hn::Load(df, trials.inverse + kSpan * lanes);
  // The divisions of trials that compete go on behind the sums of those that follow.
  TrySome<kHalf, Ends::kNone, false>(groups, 0, trials);  // −0.9 … −0.6
  KeepBest(trials, 0, 4, found, best, found_inverse);
  TrySome<kHalf, Ends::kUpper, true>(groups, 4, trials);  // −0.5 … −0.1
  KeepBest(trials, 4, kSpan, found, best, found_inverse);
  KeepBest(trials, kSpan + 1, 14, found, best, found_inverse);
  TrySome<kHalf, Ends::kBoth, true>(groups, 14, trials);  // 0.5 … 0.9
  KeepBest(trials, 14, kTrials, found, best, found_inverse);

  const auto tiny = hn::Lt(hn::Abs(most), hn::Set(df, scalar::kTiny));
  hn::Store(hn::IfThenZeroElse(tiny, found), df, scale);
  hn::Store(hn::IfThenZeroElse(tiny, found_inverse), df, inverse);
}

/// What scalar::nearest gives for any number at all, held to −kHalf … kHalf − 1: from 2^22 on, what the bits of the sum
/// happen to be.
template <int kHalf>
HWY_INLINE VF HeldNearest(VF steps) {
  const GroupF df;
  const GroupI di;
  const auto bits = hn::And(hn::BitCast(di, hn::Add(steps, hn::Set(df, kRounder))), hn::Set(di, 0x7FFFFF));
  const auto code = hn::Sub(bits, hn::Set(di, 0x400000));
  return hn::ConvertTo(df, hn::Min(hn::Max(code, hn::Set(di, -kHalf)), hn::Set(di, kHalf - 1)));
}

/// A descent under way: the numbers, their codes without bias, and what goes with them.
template <std::size_t kSize>
struct Descent {
  HWY_ALIGN float x[kSize * kMaxGroups];
  HWY_ALIGN float level[kSize * kMaxGroups];
  HWY_ALIGN float xl_part[kSize * kMaxGroups];  // of the sums below
  HWY_ALIGN float ll_part[kSize * kMaxGroups];
  HWY_ALIGN float low[kSize * kMaxGroups];  // between these numbers of steps the level is certainly right
  HWY_ALIGN float high[kSize * kMaxGroups];
  HWY_ALIGN float most[kMaxGroups];
  HWY_ALIGN float xl[kMaxGroups];  // sums over a group, as those of a trial
  HWY_ALIGN float ll[kMaxGroups];
  HWY_ALIGN std::int32_t active[kMaxGroups];  // all bits set in groups that may still gain
  HWY_ALIGN std::int32_t moved[kMaxGroups];   // the same for those that did in this round
};

/// Sets the level of the number at `i` and what follows from it. The bounds keep away from the middles, for rounding,
/// and beyond the ends from numbers for which scalar::nearest gives something else.
template <int kHalf, std::size_t kSize>
HWY_INLINE void SetLevel(std::size_t i, VF level, VF xl_part, VF ll_part, Descent<kSize>& descent) {
  const GroupF df;
  const auto margin = hn::Set(df, 0.4999F);
  const auto far = hn::Set(df, 1048576.0F);
  const auto lowest = hn::Eq(level, hn::Set(df, static_cast<float>(-kHalf)));
  const auto highest = hn::Eq(level, hn::Set(df, static_cast<float>(kHalf - 1)));
  hn::Store(level, df, descent.level + i);
  hn::Store(xl_part, df, descent.xl_part + i);
  hn::Store(ll_part, df, descent.ll_part + i);
  hn::Store(hn::IfThenElse(lowest, hn::Neg(far), hn::Sub(level, margin)), df, descent.low + i);
  hn::Store(hn::IfThenElse(highest, far, hn::Add(level, margin)), df, descent.high + i);
}

template <int kHalf, std::size_t kSize>
HWY_INLINE void StartDescent(Descent<kSize>& descent) {
  const GroupF df;
  const GroupI di;
  const auto most = hn::Load(df, descent.most);
  const auto plain = hn::Div(hn::Set(df, static_cast<float>(-kHalf)), most);
  auto xl = hn::Zero(df), ll = hn::Zero(df);
  for (std::size_t i = 0; i < kSize * hn::Lanes(df); i += hn::Lanes(df)) {
    const auto x = hn::Load(df, descent.x + i);
    const auto weight = hn::Mul(x, x);
    const auto level = SignedCode<kHalf, Ends::kUpper>(hn::Mul(plain, x));
    const auto xl_part = hn::Mul(hn::Mul(weight, x), level);
    const auto ll_part = hn::Mul(hn::Mul(weight, level), level);
    xl = hn::Add(xl, xl_part);
    ll = hn::Add(ll, ll_part);
    SetLevel<kHalf>(i, level, xl_part, ll_part, descent);
  }
  hn::Store(xl, df, descent.xl);
  hn::Store(ll, df, descent.ll);
  const auto counts = hn::Ge(hn::Abs(most), hn::Set(df, scalar::kTiny));
  hn::Store(hn::VecFromMask(di, hn::RebindMask(di, counts)), di, descent.active);
  hn::Store(hn::Zero(di), di, descent.moved);
}

/// Moves the level of the number at `i` in the groups that gain by it.
template <int kHalf, std::size_t kSize>
HWY_INLINE void Move(std::size_t i, VF other_xl, VF other_ll, VF product, Descent<kSize>& descent) {
  const GroupF df;
  const GroupI di;
  const auto x = hn::Load(df, descent.x + i);
  const auto level = hn::Load(df, descent.level + i);
  const auto xl = hn::Load(df, descent.xl), ll = hn::Load(df, descent.ll);
  const auto weight = hn::Mul(x, x);
  const auto better = HeldNearest<kHalf>(hn::Div(product, other_xl));
  const auto xl_part = hn::Mul(hn::Mul(weight, x), better);
  const auto ll_part = hn::Mul(hn::Mul(weight, better), better);
  const auto new_xl = hn::Add(other_xl, xl_part);
  const auto new_ll = hn::Add(other_ll, ll_part);
  const auto gain = hn::Gt(hn::Mul(hn::Mul(new_xl, new_xl), ll), hn::Mul(hn::Mul(xl, xl), new_ll));
  const auto sound = hn::And(hn::Gt(other_xl, hn::Zero(df)), hn::Gt(new_ll, hn::Zero(df)));
  const auto active = hn::RebindMask(df, hn::MaskFromVec(hn::Load(di, descent.active)));
  const auto moves = hn::And(hn::And(hn::And(sound, gain), hn::Ne(better, level)), active);
  if (hn::AllFalse(df, moves)) return;
  hn::Store(hn::IfThenElse(moves, new_xl, xl), df, descent.xl);
  hn::Store(hn::IfThenElse(moves, new_ll, ll), df, descent.ll);
  const auto old_xl_part = hn::Load(df, descent.xl_part + i), old_ll_part = hn::Load(df, descent.ll_part + i);
  SetLevel<kHalf>(i, hn::IfThenElse(moves, better, level), hn::IfThenElse(moves, xl_part, old_xl_part),
                  hn::IfThenElse(moves, ll_part, old_ll_part), descent);
  const auto moved = hn::VecFromMask(di, hn::RebindMask(di, moves));
  hn::Store(hn::Or(moved, hn::Load(di, descent.moved)), di, descent.moved);
}

/// One step of scalar improve(). Two numbers of a hundred move in the first round and fewer later, so what comes first
/// is a look, without a division, whether any in the vector may.
template <int kHalf, std::size_t kSize>
HWY_INLINE void Improve(std::size_t i, Descent<kSize>& descent) {
  const GroupF df;
  const GroupI di;
  const auto other_xl = hn::Sub(hn::Load(df, descent.xl), hn::Load(df, descent.xl_part + i));
  const auto other_ll = hn::Sub(hn::Load(df, descent.ll), hn::Load(df, descent.ll_part + i));
  const auto product = hn::Mul(hn::Load(df, descent.x + i), other_ll);  // steps are product / other_xl
  const auto above = hn::Gt(product, hn::Mul(hn::Load(df, descent.low + i), other_xl));
  const auto below = hn::Lt(product, hn::Mul(hn::Load(df, descent.high + i), other_xl));
  const auto active = hn::RebindMask(df, hn::MaskFromVec(hn::Load(di, descent.active)));
  if (HWY_LIKELY(hn::AllFalse(df, hn::AndNot(hn::And(above, below), active)))) return;
  Move<kHalf>(i, other_xl, other_ll, product, descent);
}

/// Leaves active those groups that moved in the round that ends. False when none did.
template <std::size_t kSize>
HWY_INLINE bool EndRound(Descent<kSize>& descent) {
  const GroupI di;
  const auto moved = hn::Load(di, descent.moved);
  hn::Store(moved, di, descent.active);
  hn::Store(hn::Zero(di), di, descent.moved);
  return !hn::AllFalse(di, hn::MaskFromVec(moved));
}

/// scalar::descend_scale for `count` vectors of groups at once, at most kCount. Each step waits for the one before it
/// in its group, so several vectors take turns.
template <int kHalf, std::size_t kCount, std::size_t kSize>
HWY_INLINE void DescendScales(Descent<kSize>* descents, std::size_t count) {
  const std::size_t lanes = hn::Lanes(GroupF());
  Descent<kSize>* live[kCount] = {};
  for (std::size_t v = 0; v < count; ++v) {
    live[v] = descents + v;
    StartDescent<kHalf>(descents[v]);
  }
  for (int round = 0; round < 5 && count != 0; ++round) {
    for (std::size_t i = 0; i < kSize * lanes; i += lanes) {
      for (std::size_t v = 0; v < count; ++v) Improve<kHalf>(i, *live[v]);
    }
    std::size_t still = 0;
    for (std::size_t v = 0; v < count; ++v) {
      if (EndRound(*live[v])) live[still++] = live[v];
    }
    count = still;
  }
}

/// The scales that a descent has come to, and 0 for tiny groups.
template <std::size_t kSize>
HWY_INLINE VF ScaleOf(const Descent<kSize>& descent) {
  const GroupF df;
  const auto ll = hn::Load(df, descent.ll);
  const auto fits = hn::Gt(ll, hn::Zero(df));
  const auto tiny = hn::Lt(hn::Abs(hn::Load(df, descent.most)), hn::Set(df, scalar::kTiny));
  return hn::IfThenElseZero(hn::AndNot(tiny, fits), hn::Div(hn::Load(df, descent.xl), ll));
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
