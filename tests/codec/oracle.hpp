// What a float type should hold, computed another way than the codecs do it: with doubles.
#pragma once

#include <headrace/dtype.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace headrace::codec {

struct FloatShape {
  DType dtype;
  int mantissa_bits;
  int least_exponent;  ///< of the smallest normal
  double largest;
  bool has_infinity;
};

inline constexpr FloatShape kFloatShapes[] = {
    {DType::F32, 23, -126, 3.4028234663852886e38, true},
    {DType::F16, 10, -14, 65504, true},
    {DType::BF16, 7, -126, 3.3895313892515355e38, true},
    {DType::F8_E4M3, 3, -6, 448, false},
    {DType::F8_E5M2, 2, -14, 57344, true},
};

/// `x` rounded once, to nearest even, to a number of that shape; NaN and infinity as a cast gives them.
inline double rounded(double x, const FloatShape& shape) {
  if (std::isnan(x)) return x;
  double value = x;
  if (std::isfinite(x) && x != 0) {
    const int exponent = std::max(std::ilogb(x), shape.least_exponent);
    const int unit = exponent - shape.mantissa_bits;
    value = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  }
  if (std::fabs(value) <= shape.largest) return value;
  return shape.has_infinity ? std::copysign(std::numeric_limits<double>::infinity(), x)
                            : std::numeric_limits<double>::quiet_NaN();
}

/// Both NaN, or equal with equal signs.
inline bool same_value(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b && std::signbit(a) == std::signbit(b);
}

}  // namespace headrace::codec
