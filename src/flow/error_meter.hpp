// ErrorMeter: how far one tensor's new numbers are from its old ones, measured while its pieces are converted.
//
// The figures have the same bits whatever the order of the pieces, the threads that made them and where the tensor was
// cut, if only each piece starts at a multiple of kErrorTile elements of the tensor: then its tiles are the same, and
// their sums are added exactly and rounded once.
#pragma once

#include "flow/difference.hpp"
#include "flow/exact_sum.hpp"

#include <headrace/dtype.hpp>

#include <cstddef>
#include <mutex>

namespace headrace::flow {

/// The sums of some tiles of a tensor: what one worker fills by itself, piece by piece. A tensor that is one piece
/// needs no ErrorMeter, for total() is the same. Some 4.4 KiB.
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

/// The sums of a whole tensor, from however many workers. Some 4.4 KiB, so it is best made when the tensor's first
/// piece is and dropped for its total() after the last. Thread-safe.
class ErrorMeter {
 public:
  void add(const Difference& tile) noexcept;
  void add(const PieceErrors& piece) noexcept;

  /// Of what has been added so far.
  Difference total() const noexcept;

 private:
  mutable std::mutex mutex_;
  PieceErrors sums_;
};

/// Measures a run of `elements`, whole blocks on both sides, tile by tile. `in` is the truth, `out` what was made of
/// it, and both start at a multiple of kErrorTile elements of their tensor. The types must be comparable.
void measure_run(DType from, const std::byte* in, DType to, const std::byte* out, std::size_t elements,
                 PieceErrors& into) noexcept;

}  // namespace headrace::flow
