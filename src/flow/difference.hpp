// Difference: how far apart two runs of numbers are.
#pragma once

#include <headrace/dtype.hpp>

#include <cstddef>

namespace headrace::flow {

/// Numbers whose sums are made in one go: a multiple of every block. Sums over a tensor don't depend on how it was cut
/// where every piece but the last is a multiple of this.
inline constexpr std::size_t kErrorTile = 2048;

/// Sums over some elements of two tensors; those of several pieces add up. Squares of float64 numbers don't fit
/// float64 themselves.
struct Difference {
  long double squared_error = 0;  // Σ (a − b)²
  long double squared = 0;        // Σ a² over finite a
  long double squared_other = 0;  // Σ b² where both are finite
  long double product = 0;        // Σ ab where both are finite
  double largest = 0;             // max |a − b|; infinity where just one side is NaN or they differ by infinity

  /// Adding in the order of the pieces gives the same figures for any number of threads.
  void add(const Difference& other) noexcept;

  /// √(Σ(a − b)² / Σa²); 0 where nothing differs, infinity where a is all zeros and b isn't.
  double relative_rmse() const noexcept;

  /// Σab / √(Σa² Σb²), from −1 to 1; 1 where both are all zeros, 0 where just one is.
  double cosine() const noexcept;
};

/// True when numbers of these types can be held against each other: both real or both whole, and known to the codecs.
bool comparable(DType a, DType b) noexcept;

/// Compares `elements` elements, a whole number of blocks on both sides. `a` is the truth. The types must be
/// comparable. Whole numbers are compared exactly, float64 as it is, all else as float32, which holds it exactly. Tiles
/// of kErrorTile are added in order.
Difference difference(DType a_type, const std::byte* a, DType b_type, const std::byte* b,
                      std::size_t elements) noexcept;

}  // namespace headrace::flow
