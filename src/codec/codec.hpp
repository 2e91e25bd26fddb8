// Codecs: runs of numbers of one element type become runs of another.
//
// Everything goes through float32, in tiles that stay in the first-level cache, so there is one decoder and one encoder
// a type, not one a pair. float32 holds every value of every narrower type exactly; float64 is narrowed to it by
// rounding to odd where a second, narrower rounding follows, so that the result is the one of a single rounding.
// Integers are read for comparing only: those of more than 24 bits are rounded on the way.
//
// Bytes are little-endian and need no alignment. Every function is pure and may run on any thread; workers set the
// floating-point mode (base/fpu.hpp) first, for a host program may have switched denormals off.
#pragma once

#include <headrace/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "codec/kernel.hpp"

namespace headrace::codec {

/// True for every type whose numbers `decode` can read: all but C64 and ggml's two internal ones.
bool can_decode(DType dtype) noexcept;
/// True for every type that `Transcoder` can make: of those, all but integers, BOOL and the IQ types with a grid.
bool can_encode(DType dtype) noexcept;

/// Decodes `elements` numbers (a whole number of blocks) to float32, rounding to nearest even where float32 is
/// narrower. `from` must satisfy can_decode.
void decode(DType from, const std::byte* src, float* dst, std::size_t elements) noexcept;

/// Encodes `elements` float32 numbers (a whole number of blocks). `to` must satisfy can_encode.
void encode(DType to, const float* src, std::byte* dst, std::size_t elements) noexcept;

/// True for the types of encode_weighted. All others pass over an importance matrix.
bool uses_weights(DType to) noexcept;
/// True for those of them that need Weights::row_mean_squares: Q4_0 to Q5_1. For the others it may be null.
bool uses_row_mean_squares(DType to) noexcept;

/// Encodes like `encode`, with the error of each number weighed. `to` must satisfy uses_weights.
void encode_weighted(DType to, const float* src, Weights weights, std::byte* dst, std::size_t elements) noexcept;

/// The mean of the squares of a row that comes in pieces, in order: the same float32 however it is cut.
class RowSquares {
 public:
  void add(const float* numbers, std::size_t n) noexcept;
  /// Requires that numbers have been added.
  float mean() const noexcept { return sum_ / static_cast<float>(count_); }

 private:
  float sum_ = 0;
  std::uint64_t count_ = 0;
};

/// An element that the target can't represent.
struct BadValue {
  std::size_t element;  ///< index in the run given to Transcoder::run
  double value;
};

/// Converts runs of whole blocks from one type to another. Immutable; one may serve all threads.
class Transcoder {
 public:
  /// `check`: look for NaN, infinity and numbers too large for a block's scale before quantising, and for finite
  /// numbers that a cast would make infinite or NaN, or for want of both cut to the largest (F4, F6). Infinity and NaN
  /// are fine where a float cast keeps them, and bad where the target has none. Zero and negative numbers are bad for
  /// F8_E8M0. `run` requires can_decode(from) and can_encode(to), or from == to.
  Transcoder(DType from, DType to, bool check) noexcept;

  /// Elements that a run must be a multiple of.
  std::size_t granule() const noexcept;

  /// Converts `elements` numbers, a multiple of granule(). `src` and `dst` must not overlap. `weights`, where given,
  /// are beside the numbers of this run; a target that doesn't use them passes over them. Returns the first bad value
  /// when checking and one is found; `dst` is then unspecified. With weights a number is bad too when a fit makes it
  /// infinite.
  [[nodiscard]] std::optional<BadValue> run(const std::byte* src, std::byte* dst, std::size_t elements,
                                            const Weights* weights = nullptr) const noexcept;

 private:
  DType from_, to_;
  bool check_;
};

}  // namespace headrace::codec
