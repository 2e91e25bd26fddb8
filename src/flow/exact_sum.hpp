// ExactSum: a sum of floating-point numbers that is the same in whatever order they are added.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace headrace::flow {

/// A long number of fixed point: nothing is rounded until value() is asked for. It holds every float64, the square of
/// every float64 and sums of those, to any count; some 1.1 KiB. What is finer than its lowest place, as no such number
/// is, is cut off; what is too large for its highest counts as infinite.
///
/// Not thread-safe.
class ExactSum {
 public:
  void add(long double number) noexcept;
  void add(const ExactSum& other) noexcept;

  /// The sum, rounded to float64's 53 bits, ties to even, wherever its exponent lies: so, where float64 can hold it, it
  /// is the float64 nearest to the exact sum. Infinite or NaN as the sum of what was added of those.
  long double value() const noexcept;

 private:
  static constexpr int kLowest = -2176;  // a digit is a number of 2^(kLowest + 32 · its index)
  static constexpr int kHighest = 2112;  // numbers are below 2^kHighest
  static constexpr std::size_t kDigits = (kHighest - kLowest) / 32 + 2;  // two for what is carried
  static constexpr std::uint32_t kMostAdditions = std::uint32_t{1} << 30;

  void add_double(double number) noexcept;
  void add_wide(long double number) noexcept;
  void carry() noexcept;

  // Each addition moves a digit by less than 2^32 either way, so that twice kMostAdditions of them fit before carry()
  // brings all but the highest back into [0, 2^32).
  std::array<std::int64_t, kDigits> digits_{};
  std::uint32_t additions_ = 0;
  long double beyond_ = 0;  // the sum of what is not finite
};

}  // namespace headrace::flow
