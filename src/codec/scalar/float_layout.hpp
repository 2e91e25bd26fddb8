// What the scalar floats share: the step from float32 to a narrower layout and back, and runs of whole-byte numbers.
//
// Thread-safety: pure functions.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace headrace::codec::scalar {

inline constexpr std::uint32_t kInfinity = 0x7F800000;
inline constexpr std::uint32_t kMagnitude = 0x7FFFFFFF;

/// A binary float narrower than float32: its mantissa bits and the bias of its exponent.
struct Layout {
  int mantissa_bits;
  int bias;
};

/// value / 2^shift, to nearest, ties to even.
inline std::uint32_t shift_to_nearest_even(std::uint32_t value, int shift) noexcept {
  const std::uint32_t half = 1U << (shift - 1);
  const std::uint32_t rest = value & ((1U << shift) - 1);
  const std::uint32_t floor = value >> shift;
  return floor + ((rest > half || (rest == half && (floor & 1) != 0)) ? 1 : 0);
}

/// The bits of a finite float32 magnitude in a narrower layout, as if that had no end at the top.
inline std::uint32_t narrow(std::uint32_t magnitude, Layout to) noexcept {
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  const int dropped = 23 - to.mantissa_bits;
  const int first_normal = 1 - to.bias;
  if (exponent >= first_normal) {
    // A carry out of the mantissa raises the exponent, as it should.
    return shift_to_nearest_even(magnitude - ((127U - static_cast<unsigned>(to.bias)) << 23), dropped);
  }
  const int extra = first_normal - exponent;  // denormal: that many more bits fall off
  if (dropped + extra > 24) return 0;         // under half of the smallest
  return shift_to_nearest_even((magnitude & 0x7FFFFF) | 0x800000, dropped + extra);
}

/// The value of a finite magnitude in a narrower layout; exact.
inline float widen(std::uint32_t magnitude, Layout from) noexcept {
  const std::uint32_t exponent = magnitude >> from.mantissa_bits;
  if (exponent == 0) return std::ldexp(static_cast<float>(magnitude), 1 - from.bias - from.mantissa_bits);
  return std::bit_cast<float>((magnitude << (23 - from.mantissa_bits)) +
                              ((127U - static_cast<unsigned>(from.bias)) << 23));
}

inline float with_sign(float magnitude, bool negative) noexcept {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | (negative ? 0x80000000U : 0U));
}

template <typename T>
T load(const std::byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T, typename Convert>
void decode_each(const std::byte* src, float* dst, std::size_t n, Convert convert) noexcept {
  for (std::size_t i = 0; i < n; ++i) dst[i] = convert(load<T>(src + i * sizeof(T)));
}

template <typename T, typename Convert>
void encode_each(const float* src, std::byte* dst, std::size_t n, Convert convert) noexcept {
  for (std::size_t i = 0; i < n; ++i) {
    const T value = convert(src[i]);
    std::memcpy(dst + i * sizeof(T), &value, sizeof value);
  }
}

}  // namespace headrace::codec::scalar
