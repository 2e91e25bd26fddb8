// The distance: how far numbers that were made are from the numbers they were made of, as sums in float64.
//
// The sums are kept in a fixed number of strands whatever the processor's vectors are, and joined in a fixed order, so
// they are the same to the last bit everywhere.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

namespace headrace::codec::kernels {

struct ErrorSums {
  double squared_error = 0;  ///< Σ (a − b)²
  double squared = 0;        ///< Σ a² over finite a
  double squared_other = 0;  ///< Σ b² where both are finite
  double product = 0;        ///< Σ ab where both are finite
  double largest = 0;        ///< max |a − b|
};

/// |a − b|. Equal infinities agree, and so does NaN on both sides; NaN on one side is infinitely far from anything.
inline double distance(double a, double b) noexcept {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double apart = std::abs(a - b);
  return std::isnan(apart) ? std::numeric_limits<double>::infinity() : apart;
}

/// Sums over `n` pairs of float32 numbers, any number of them; `a` is the truth. Neither needs an alignment.
ErrorSums error_sums(const float* a, const float* b, std::size_t n) noexcept;

/// The readable reference, which error_sums equals bit for bit.
ErrorSums error_sums_reference(const float* a, const float* b, std::size_t n) noexcept;

/// The sums before they are joined: pair i is in strand i % kErrorStrands.
inline constexpr std::size_t kErrorStrands = 8;
struct ErrorStrands {
  double squared_error[kErrorStrands] = {}, squared[kErrorStrands] = {}, squared_other[kErrorStrands] = {};
  double product[kErrorStrands] = {}, largest[kErrorStrands] = {};
};

}  // namespace headrace::codec::kernels
