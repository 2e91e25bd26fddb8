#include "flow/exact_sum.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace headrace::flow {
namespace {

using Wide = unsigned __int128;

constexpr int kDigitBits = 32;
constexpr int kMantissaBits = std::numeric_limits<double>::digits;

constexpr std::int64_t low_digit(Wide bits) noexcept {
  return static_cast<std::int64_t>(static_cast<std::uint32_t>(bits));
}

/// `bits` · 2^exponent, and something less than one bit more where `inexact`, rounded to 53 bits.
long double rounded(Wide bits, bool inexact, int exponent) noexcept {
  const auto high = static_cast<std::uint64_t>(bits >> 64), low = static_cast<std::uint64_t>(bits);
  const auto width = static_cast<int>(high != 0 ? 64 + std::bit_width(high) : std::bit_width(low));
  const int dropped = std::max(0, width - kMantissaBits);
  const Wide rest = bits & ((Wide{1} << dropped) - 1), half = dropped == 0 ? 0 : Wide{1} << (dropped - 1);
  auto kept = static_cast<std::uint64_t>(bits >> dropped);
  if (dropped != 0 && (rest > half || (rest == half && (inexact || kept % 2 != 0)))) ++kept;
  return std::ldexp(static_cast<long double>(kept), exponent + dropped);
}

}  // namespace

void ExactSum::add(long double number) noexcept {
  if (!std::isfinite(number)) {
    beyond_ += number;
    return;
  }
  if (additions_ == kMostAdditions) carry();
  ++additions_;
  const auto narrow = static_cast<double>(number);
  if (static_cast<long double>(narrow) == number) {
    add_double(narrow);
  } else {
    add_wide(number);
  }
}

void ExactSum::add_double(double number) noexcept {
  constexpr std::uint64_t kHidden = std::uint64_t{1} << (kMantissaBits - 1);
  const auto bits = std::bit_cast<std::uint64_t>(number);
  const int exponent = static_cast<int>(bits >> (kMantissaBits - 1)) & 0x7FF;
  const std::uint64_t mantissa = (bits & (kHidden - 1)) | (exponent == 0 ? 0 : kHidden);
  const int place = std::max(exponent, 1) - 1075 - kLowest;  // of the mantissa's last bit
  const Wide shifted = Wide{mantissa} << (place % kDigitBits);
  const std::int64_t sign = std::signbit(number) ? -1 : 1;
  std::int64_t* const digit = digits_.data() + place / kDigitBits;
  digit[0] += sign * low_digit(shifted);
  digit[1] += sign * low_digit(shifted >> kDigitBits);
  digit[2] += sign * low_digit(shifted >> (2 * kDigitBits));
}

// What is no float64: digit by digit, from the highest.
void ExactSum::add_wide(long double number) noexcept {
  int exponent = 0;
  long double rest = std::frexp(std::abs(number), &exponent);  // at least 1/2 and below 1
  if (exponent <= kLowest) return;
  if (exponent > kHighest) {
    beyond_ += std::copysign(std::numeric_limits<long double>::infinity(), number);
    return;
  }
  const std::int64_t sign = std::signbit(number) ? -1 : 1;
  const int place = exponent - kLowest;
  int index = (place - 1) / kDigitBits;
  rest = std::ldexp(rest, place - kDigitBits * index);
  for (; rest != 0 && index >= 0; --index) {
    const auto digit = static_cast<std::uint32_t>(rest);
    digits_[static_cast<std::size_t>(index)] += sign * std::int64_t{digit};
    rest = std::ldexp(rest - static_cast<long double>(digit), kDigitBits);
  }
}

void ExactSum::add(const ExactSum& other) noexcept {
  beyond_ += other.beyond_;
  for (std::size_t i = 0; i < kDigits; ++i) digits_[i] += other.digits_[i];
  additions_ += other.additions_;
  if (additions_ > kMostAdditions) carry();
}

void ExactSum::carry() noexcept {
  for (std::size_t i = 0; i + 1 < kDigits; ++i) {
    const std::int64_t carried = digits_[i] >> kDigitBits;  // rounds down
    digits_[i] -= carried * (std::int64_t{1} << kDigitBits);
    digits_[i + 1] += carried;
  }
  additions_ = 1;
}

long double ExactSum::value() const noexcept {
  if (beyond_ != 0) return beyond_;
  ExactSum sum = *this;
  sum.carry();
  const bool negative = sum.digits_.back() < 0;
  if (negative) {
    for (std::int64_t& digit : sum.digits_) digit = -digit;
    sum.carry();
  }
  // Three digits hold 65 bits at least, and whether anything is below them is all that rounding asks of the rest.
  std::size_t top = kDigits - 1;
  while (top > 2 && sum.digits_[top] == 0) --top;
  Wide bits = 0;
  for (std::size_t i = 0; i <= 2; ++i) bits = bits << kDigitBits | static_cast<Wide>(sum.digits_[top - i]);
  const bool inexact = std::any_of(sum.digits_.begin(), sum.digits_.begin() + static_cast<std::ptrdiff_t>(top - 2),
                                   [](std::int64_t digit) { return digit != 0; });
  const long double magnitude = rounded(bits, inexact, kLowest + kDigitBits * static_cast<int>(top - 2));
  return negative ? -magnitude : magnitude;
}

}  // namespace headrace::flow
