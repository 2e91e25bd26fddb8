// What the scalar block codecs share: F16 scales in bytes, codes packed in bits, sums in order, and C casts made
// well-defined.
#pragma once

#include "codec/scalar/floats.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

namespace headrace::codec::scalar {

/// Drops the fraction. What no int32 can hold, NaN included, becomes the smallest one, as x86's instruction does it:
/// C++ leaves that open, and ggml's bytes on x86-64 follow from it.
inline std::int32_t truncate(float number) noexcept {
  const bool fits = number >= -2147483648.0F && number < 2147483648.0F;
  return fits ? static_cast<std::int32_t>(number) : std::numeric_limits<std::int32_t>::min();
}

/// The nearest integer, ties to even, as ggml's nearest_int finds it: adding 1.5 · 2^23 leaves it in the mantissa. From
/// 2^22 on, and for NaN, the result is what those bits happen to be, and always within ±2^22: ggml's bytes follow it.
inline std::int32_t nearest(float number) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number + 12582912.0F);
  return static_cast<std::int32_t>(bits & 0x7FFFFF) - 0x400000;
}

/// The number with the largest magnitude; of several the first. NaN is passed over; 0 when there is no other.
inline float largest(std::span<const float> numbers) noexcept {
  float most = 0, value = 0;
  for (const float number : numbers) {
    const float magnitude = std::fabs(number);
    if (most < magnitude) {
      most = magnitude;
      value = number;
    }
  }
  return value;
}

/// The sum of the squares, in order.
inline float sum_of_squares(std::span<const float> numbers) noexcept {
  float sum = 0;
  for (const float number : numbers) sum += number * number;
  return sum;
}

/// What each number of a group weighs when an importance matrix is given: its importance times the root of its square
/// and a mean square, so that small numbers count too. Returns the sum.
inline float weigh(std::span<const float> x, const float* importance, float mean_square, float* weights) noexcept {
  float sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    weights[i] = importance[i] * std::sqrt(mean_square + x[i] * x[i]);
    sum += weights[i];
  }
  return sum;
}

/// Stores a scale as F16.
inline void store_scale(float scale, std::byte* dst) noexcept {
  const std::uint16_t half = f32_to_f16(scale);
  std::memcpy(dst, &half, sizeof half);
}

/// Loads a scale stored as F16.
inline float load_scale(const std::byte* src) noexcept {
  std::uint16_t half = 0;
  std::memcpy(&half, src, sizeof half);
  return f16_to_f32(half);
}

/// Where a few bits of a block lie: in which byte, and how far above its lowest bit.
struct BitPlace {
  std::size_t byte, shift;
};

inline std::uint32_t get_bits(const std::byte* src, BitPlace at, std::uint32_t mask) noexcept {
  return std::to_integer<std::uint32_t>(src[at.byte]) >> at.shift & mask;
}

/// Adds bits to a byte in which they are still zero. What is beyond the byte falls off.
inline void put_bits(std::byte* dst, BitPlace at, std::uint32_t bits) noexcept {
  dst[at.byte] |= static_cast<std::byte>(bits << at.shift & 0xFF);
}

}  // namespace headrace::codec::scalar
