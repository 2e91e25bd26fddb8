// PieceWeights: how much each number of a piece matters, a tile at a time.
#pragma once

#include "codec/codec.hpp"
#include "plan/plan.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace::flow {

/// A run of numbers of one output tensor, and their bytes in the source.
struct Run {
  std::uint32_t tensor;
  std::uint64_t first_element, elements;
  std::span<const std::byte> in;
};

/// Mean squares of the first and the last row of a run, where it doesn't hold them whole.
struct EdgeRows {
  float first = 0, last = 0;
};

/// True when the encoder of `to`, the output tensor's type or one that is tried, wants its rows' mean squares.
bool needs_row_squares(const Plan::Impl& plan, std::uint32_t tensor, DType to);

/// Weights of one run, from its beginning to its end. Not thread-safe; one serves one worker.
class PieceWeights {
 public:
  static constexpr std::size_t kTile = 2048;  ///< numbers at a time; whole blocks of every type

  /// Bytes of scratch that a run of this tensor needs: as many weights of a row as are kept at hand.
  static std::size_t scratch_bytes(const Plan::Impl& plan, std::uint32_t tensor);

  PieceWeights(const Plan::Impl& plan, const Run& run, DType to, EdgeRows edges, std::span<std::byte> scratch);

  /// Weights of the next `n` numbers, at most kTile; valid until the next call. Throws Error: io, value.
  codec::Weights next(std::size_t n);

 private:
  void load_window(std::uint64_t row, std::uint64_t column);
  void fill_weights(std::span<float> out);
  void fill_squares(std::size_t n);
  float mean_square_of(std::uint64_t row) const;

  const Plan::Impl& plan_;
  const Run run_;
  const EdgeRows edges_;
  const std::uint64_t row_;       // numbers in a row
  const std::uint64_t rows_;      // in a matrix
  const bool by_file_, squares_;  // what is wanted
  std::string_view name_;         // in the importance matrix
  std::uint64_t stored_ = 0;      // weights that it has for the tensor
  std::span<float> window_;       // some of them
  std::uint64_t window_at_ = 0, window_size_ = 0;
  std::uint64_t at_;                 // the next number, in the tensor
  std::uint64_t row_known_ = ~0ULL;  // whose mean square is in mean_
  float mean_ = 0;
  std::array<float, kTile> weights_;
  std::array<float, kTile / 32> means_;
};

}  // namespace headrace::flow
