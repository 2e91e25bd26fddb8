// Arithmetic on numbers that come from a file: every result is checked.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace headrace::base {

inline std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

/// The smallest multiple of `unit` (not 0) that is at least `value`.
inline std::optional<std::uint64_t> checked_round_up(std::uint64_t value, std::uint64_t unit) noexcept {
  const std::uint64_t rest = value % unit;
  return rest == 0 ? std::optional(value) : checked_add(value, unit - rest);
}

/// Product of all factors, 1 for none; nothing when any partial product overflows, a later 0 included, as the
/// reference readers multiply.
inline std::optional<std::uint64_t> checked_product(std::span<const std::uint64_t> factors) noexcept {
  std::uint64_t product = 1;
  for (const std::uint64_t factor : factors) {
    if (__builtin_mul_overflow(product, factor, &product)) return std::nullopt;
  }
  return product;
}

}  // namespace headrace::base
