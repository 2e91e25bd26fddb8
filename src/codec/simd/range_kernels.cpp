#include "codec/simd/range_kernels.hpp"

#include <bit>

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/range_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// The smallest of (magnitude − first), where magnitudes below `first` wrap round to large numbers: so the answer is
/// at most last − first exactly when some magnitude lies in the range. Covers whole vectors; sets `done` to how many
/// numbers that were.
template <typename Bits, typename Float>
HWY_INLINE Bits LeastAbove(const Float* numbers, std::size_t n, Bits first, std::size_t& done) {
  const hn::ScalableTag<Float> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  const auto magnitude = hn::Set(du, static_cast<Bits>(~Bits{0} >> 1));
  const auto base = hn::Set(du, first);
  auto least = hn::Set(du, static_cast<Bits>(~Bits{0}));
  const std::size_t lanes = hn::Lanes(df);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto bits = hn::BitCast(du, hn::LoadU(df, numbers + i));
    least = hn::Min(least, hn::Sub(hn::And(bits, magnitude), base));
  }
  done = i;
  return hn::GetLane(hn::MinOfLanes(du, least));
}

/// True when any number is zero or negative; NaN is neither. Covers whole vectors, as above.
bool AnyNotPositive(const float* numbers, std::size_t n, std::size_t& done) {
  const hn::ScalableTag<float> df;
  const auto zero = hn::Zero(df);
  auto found = hn::Lt(zero, zero);
  const std::size_t lanes = hn::Lanes(df);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) found = hn::Or(found, hn::Le(hn::LoadU(df, numbers + i), zero));
  done = i;
  return !hn::AllFalse(df, found);
}

std::uint32_t LeastAbove32(const float* numbers, std::size_t n, std::uint32_t first, std::size_t& done) {
  return LeastAbove<std::uint32_t>(numbers, n, first, done);
}

std::uint64_t LeastAbove64(const std::byte* numbers, std::size_t n, std::uint64_t first, std::size_t& done) {
  return LeastAbove<std::uint64_t>(reinterpret_cast<const double*>(numbers), n, first, done);
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cstring>

namespace headrace::codec {

HWY_EXPORT(AnyNotPositive);
HWY_EXPORT(LeastAbove32);
HWY_EXPORT(LeastAbove64);

namespace kernels {
namespace {

// Finite float64 magnitudes that round to infinity: from 2^128 − 2^103, halfway between the largest float32 and 2^128.
constexpr std::uint64_t kFirst64 = 0x47EFFFFFF0000000, kLast64 = 0x7FEFFFFFFFFFFFFF;

}  // namespace

bool in_range(float number, BadRange range) noexcept {
  const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(number) & 0x7FFFFFFFU;
  return (magnitude >= range.first && magnitude <= range.last) || (range.positive_only && number <= 0);
}

bool overflows_f32(double number) noexcept {
  const std::uint64_t magnitude = std::bit_cast<std::uint64_t>(number) & ~(std::uint64_t{1} << 63);
  return magnitude >= kFirst64 && magnitude <= kLast64;
}

bool any_in_range(const float* numbers, std::size_t n, BadRange range) {
  if (range.first > range.last) return false;
  std::size_t i = 0;
  if (range.positive_only && HWY_DYNAMIC_DISPATCH(AnyNotPositive)(numbers, n, i)) return true;
  if (HWY_DYNAMIC_DISPATCH(LeastAbove32)(numbers, n, range.first, i) <= range.last - range.first) return true;
  for (; i < n; ++i) {
    if (in_range(numbers[i], range)) return true;
  }
  return false;
}

bool any_overflows_f32(const std::byte* numbers, std::size_t n) {
  std::size_t i = 0;
  if (HWY_DYNAMIC_DISPATCH(LeastAbove64)(numbers, n, kFirst64, i) <= kLast64 - kFirst64) return true;
  for (; i < n; ++i) {
    double number = 0;
    std::memcpy(&number, numbers + i * sizeof number, sizeof number);
    if (overflows_f32(number)) return true;
  }
  return false;
}

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
