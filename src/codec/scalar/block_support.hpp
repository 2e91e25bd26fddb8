// What the scalar block codecs share: F16 scales in bytes, and C casts made well-defined.
#pragma once

#include "codec/scalar/floats.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

namespace headrace::codec::scalar {

/// Drops the fraction. What no int32 can hold, NaN included, becomes the smallest one, as x86's instruction does it:
/// C++ leaves that open, and ggml's bytes on x86-64 follow from it.
inline std::int32_t truncate(float number) noexcept {
  const bool fits = number >= -2147483648.0F && number < 2147483648.0F;
  return fits ? static_cast<std::int32_t>(number) : std::numeric_limits<std::int32_t>::min();
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

}  // namespace headrace::codec::scalar
