// What a float type should hold, computed another way than the codecs do it: with doubles, and bit by bit.
#pragma once

#include <headrace/dtype.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace headrace::codec {

/// What a number beyond the largest becomes.
enum class Beyond { infinity, nan, largest };

struct FloatShape {
  DType dtype;
  int mantissa_bits;
  int least_exponent;  ///< of the smallest normal
  double largest;
  Beyond beyond;
  bool has_negative_zero = true;
};

inline constexpr FloatShape kFloatShapes[] = {
    {DType::F32, 23, -126, 3.4028234663852886e38, Beyond::infinity},
    {DType::F16, 10, -14, 65504, Beyond::infinity},
    {DType::BF16, 7, -126, 3.3895313892515355e38, Beyond::infinity},
    {DType::F8_E4M3, 3, -6, 448, Beyond::nan},
    {DType::F8_E5M2, 2, -14, 57344, Beyond::infinity},
    {DType::F8_E4M3FNUZ, 3, -7, 240, Beyond::nan, false},
    {DType::F8_E5M2FNUZ, 2, -15, 57344, Beyond::nan, false},
    {DType::F6_E2M3, 3, 0, 7.5, Beyond::largest},
    {DType::F6_E3M2, 2, -2, 28, Beyond::largest},
    {DType::F4, 1, 0, 6, Beyond::largest},
};

/// What `x` beyond the largest, or infinite, becomes.
inline double beyond(double x, const FloatShape& shape) {
  switch (shape.beyond) {
    case Beyond::infinity: return std::copysign(std::numeric_limits<double>::infinity(), x);
    case Beyond::largest: return std::copysign(shape.largest, x);
    case Beyond::nan: break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

/// `x` rounded once, to nearest even, to a number of that shape; NaN and infinity as a cast gives them.
inline double rounded(double x, const FloatShape& shape) {
  if (std::isnan(x)) return shape.beyond == Beyond::largest ? std::copysign(0.0, -std::copysign(1.0, x)) : x;
  double value = x;
  if (std::isfinite(x) && x != 0) {
    const int exponent = std::max(std::ilogb(x), shape.least_exponent);
    const int unit = exponent - shape.mantissa_bits;
    value = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  }
  if (value == 0 && !shape.has_negative_zero) return 0;
  return std::fabs(value) <= shape.largest ? value : beyond(x, shape);
}

/// Bits of one number.
inline std::size_t code_bits(DType dtype) {
  return std::size_t{8} * info(dtype).block_bytes / info(dtype).block_elements;
}

/// Codes of at most 8 bits as bytes, the first number in the lowest bits.
inline std::vector<std::byte> pack_codes(DType dtype, const std::vector<std::uint8_t>& codes) {
  const std::size_t bits = code_bits(dtype);
  std::vector<std::byte> bytes(codes.size() * bits / 8);
  for (std::size_t i = 0; i < bytes.size() * 8; ++i) {
    if ((codes[i / bits] >> i % bits & 1) != 0) bytes[i / 8] |= std::byte{1} << (i % 8);
  }
  return bytes;
}

/// Both NaN, or equal with equal signs.
inline bool same_value(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b && std::signbit(a) == std::signbit(b);
}

}  // namespace headrace::codec
