// PieceErrors: how far new numbers are from their old ones, measured while a piece is converted.
//
// The figures have the same bits whatever the order of the pieces, the threads that made them and where the tensor was
// cut, if only each piece starts at a multiple of kErrorTile elements of the tensor: then its tiles are the same, and
// their sums are added exactly and rounded once.
#pragma once

#include "flow/difference.hpp"
#include "flow/exact_sum.hpp"

#include <headrace/dtype.hpp>

#include <cstddef>

namespace headrace::flow {

/// The sums of some tiles of a tensor, or of all of them: those of its pieces add up. Some 4.4 KiB.
///
/// Not thread-safe.
class PieceErrors {
 public:
  /// A tile is kErrorTile elements, from a multiple of that in the tensor; the tensor's last may be shorter.
  void add(const Difference& tile) noexcept;
  void add(const PieceErrors& other) noexcept;

  Difference total() const noexcept;

 private:
  ExactSum squared_error_, squared_, squared_other_, product_;
  double largest_ = 0;
};

/// Measures a run of `elements`, whole blocks on both sides, tile by tile. `in` is the truth, `out` what was made of
/// it, and both start at a multiple of kErrorTile elements of their tensor. The types must be comparable.
void measure_run(DType from, const std::byte* in, DType to, const std::byte* out, std::size_t elements,
                 PieceErrors& into) noexcept;

}  // namespace headrace::flow
