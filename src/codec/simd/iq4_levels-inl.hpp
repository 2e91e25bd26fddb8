// The nearest of IQ4's 16 values, for every lane: the same as the binary search of codec/scalar/iq4.cpp.
//
// Between two values the scalar search compares two differences. Near the middle both are exact in float32, so what it
// finds is how many of the 15 middles a number has reached, and any way to count those gives the same code. Included
// once for each instruction set, after hwy/highway.h.
#if defined(HEADRACE_CODEC_SIMD_IQ4_LEVELS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEADRACE_CODEC_SIMD_IQ4_LEVELS_INL_HPP
#undef HEADRACE_CODEC_SIMD_IQ4_LEVELS_INL_HPP
#else
#define HEADRACE_CODEC_SIMD_IQ4_LEVELS_INL_HPP
#endif

#include <hwy/highway.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "codec/simd/scale_search-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

// Constants here are not inline: another kernel file may give such a name to something else.
constexpr std::array<float, 16> kValues{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// Halfway between value k and the next.
constexpr float Middle(std::size_t k) { return (kValues[k] + kValues[k + 1]) / 2; }

/// The code of a number; on a middle the upper one.
constexpr std::size_t CodeOf(float number) {
  std::size_t code = 0;
  while (code < 15 && number >= Middle(code)) ++code;
  return code;
}

#if HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_AVX2

using Code = std::conditional_t<HWY_TARGET == HWY_AVX2, float, std::int32_t>;  // what suits the look-up
constexpr float kNever = std::numeric_limits<float>::infinity();

/// Buckets of equal width, of which none holds two middles: for each the middle in it, and the value and the code at
/// its lower end. A number in bucket b that has reached the middle has what stands at the lower end of b + 1.
template <std::size_t kSize>
struct Buckets {
  alignas(64) std::array<float, kSize> middle{}, value{};
  alignas(64) std::array<Code, kSize> code{};

  /// Bucket b, at place b modulo kSize, begins at first + b · width.
  constexpr Buckets(float first, float width, int from, int to) {
    for (int b = from; b <= to; ++b) {
      const std::size_t at = static_cast<std::size_t>(b) % kSize;
      const float begin = first + static_cast<float>(b) * width;
      const std::size_t lowest = CodeOf(begin);
      middle[at] = lowest < 15 && Middle(lowest) < begin + width && b != to ? Middle(lowest) : kNever;
      value[at] = kValues[lowest];
      code[at] = static_cast<Code>(lowest);
    }
  }
};

#endif

#if HWY_TARGET <= HWY_AVX3

// 31 buckets of 10.25, with zero in the middle of bucket 0, cover ±158. No middle is within half a unit of an end, so
// rounding doesn't matter in choosing one.
constexpr float kWidth = 10.25F;
constexpr Buckets<32> kBuckets{-kWidth / 2, kWidth, -15, 15};

/// Where in kBuckets what belongs to each number stands: in the lowest five bits.
HWY_INLINE VI Place(VF numbers) {
  const GroupF df;
  const GroupI di;
  const auto steps = hn::Add(hn::Mul(numbers, hn::Set(df, 1 / kWidth)), hn::Set(df, kRounder));
  const auto bucket = hn::BitCast(di, steps);
  const auto first = hn::Load(df, kBuckets.middle.data()), last = hn::Load(df, kBuckets.middle.data() + 16);
  const VF middle{_mm512_permutex2var_ps(first.raw, bucket.raw, last.raw)};
  const auto reached = hn::RebindMask(di, hn::Ge(numbers, middle));
  return hn::IfThenElse(reached, hn::Add(bucket, hn::Set(di, 1)), bucket);
}

/// The nearest value to numbers of ±150.
HWY_INLINE VF NearestValue(VF numbers) {
  const GroupF df;
  const auto first = hn::Load(df, kBuckets.value.data()), last = hn::Load(df, kBuckets.value.data() + 16);
  return VF{_mm512_permutex2var_ps(first.raw, Place(numbers).raw, last.raw)};
}

HWY_INLINE VI CodeInRange(VF numbers) {
  const GroupI di;
  const auto first = hn::Load(di, kBuckets.code.data()), last = hn::Load(di, kBuckets.code.data() + 16);
  return VI{_mm512_permutex2var_epi32(first.raw, Place(numbers).raw, last.raw)};
}

#elif HWY_TARGET == HWY_AVX2

// Buckets of 16 to either side of the middle −4.5, eight with their own table on each; those below it are numbered from
// −7 and lead up to bucket 0 of their own, which is only −4.5 itself. No other middle is within a unit of an end.
constexpr float kWidth = 16;
constexpr float kCentre = -4.5F;
constexpr Buckets<8> kBelow{kCentre - 0.25F, kWidth, -7, 0};
constexpr Buckets<8> kAbove{kCentre, kWidth, 0, 7};

/// What each number finds in one of the two tables, at the place that the lowest three bits give.
HWY_INLINE VF LookUp(hn::Mask<GroupF> above, VI place, const float* in_below, const float* in_above) {
  const GroupF df;
  const VF low{_mm256_permutevar8x32_ps(hn::Load(df, in_below).raw, place.raw)};
  const VF high{_mm256_permutevar8x32_ps(hn::Load(df, in_above).raw, place.raw)};
  return hn::IfThenElse(above, high, low);
}

HWY_INLINE VI Place(VF numbers, hn::Mask<GroupF> above) {
  const GroupF df;
  const GroupI di;
  // Half a bucket less, so that rounding to nearest finds the bucket.
  const auto held = hn::Min(hn::Max(numbers, hn::Set(df, -116.0F)), hn::Set(df, 123.0F));
  const auto offset = hn::Sub(held, hn::Set(df, kCentre + kWidth / 2));
  const auto bucket = hn::BitCast(di, hn::Add(hn::Mul(offset, hn::Set(df, 1 / kWidth)), hn::Set(df, kRounder)));
  const auto middle = LookUp(above, bucket, kBelow.middle.data(), kAbove.middle.data());
  return hn::Sub(bucket, hn::VecFromMask(di, hn::RebindMask(di, hn::Ge(numbers, middle))));
}

/// The nearest value to numbers of ±150.
HWY_INLINE VF NearestValue(VF numbers) {
  const auto above = hn::Ge(numbers, hn::Set(GroupF(), kCentre));
  return LookUp(above, Place(numbers, above), kBelow.value.data(), kAbove.value.data());
}

HWY_INLINE VI CodeInRange(VF numbers) {
  const auto above = hn::Ge(numbers, hn::Set(GroupF(), kCentre));
  const auto code = LookUp(above, Place(numbers, above), kBelow.code.data(), kAbove.code.data());
  return hn::ConvertTo(GroupI(), code);
}

#else

/// The nearest value: one step up for each middle reached.
HWY_INLINE VF NearestValue(VF numbers) {
  const GroupF df;
  auto value = hn::Set(df, kValues[0]);
  for (std::size_t k = 0; k < 15; ++k) {
    const auto reached = hn::Ge(numbers, hn::Set(df, Middle(k)));
    value = hn::Add(value, hn::IfThenElseZero(reached, hn::Set(df, kValues[k + 1] - kValues[k])));
  }
  return value;
}

HWY_INLINE VI CodeInRange(VF numbers) {
  const GroupF df;
  const GroupI di;
  auto code = hn::Zero(di);
  for (std::size_t k = 0; k < 15; ++k) {
    const auto reached = hn::Ge(numbers, hn::Set(df, Middle(k)));
    code = hn::Sub(code, hn::VecFromMask(di, hn::RebindMask(di, reached)));
  }
  return code;
}

#endif

/// The code of the nearest value to any numbers; NaN gets the last, as in the scalar search.
HWY_INLINE VI NearestCode(VF numbers) {
  const GroupF df;
  const auto most = hn::Set(df, 128.0F);
  const auto held = hn::IfThenElse(hn::Lt(numbers, most), numbers, most);
  return CodeInRange(hn::Max(held, hn::Set(df, -128.0F)));
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
