#include "flow/piece_weights.hpp"

#include <algorithm>

namespace headrace::flow {
namespace {

constexpr std::size_t kMostAtHand = std::size_t{16} << 10;  // weights: 64 KiB, all of most models' rows

}  // namespace

bool needs_row_squares(const Plan::Impl& plan, std::uint32_t tensor, DType to) {
  return plan.origins[tensor].importance != Importance::none && codec::uses_row_mean_squares(to);
}

std::size_t PieceWeights::scratch_bytes(const Plan::Impl& plan, std::uint32_t tensor) {
  if (plan.origins[tensor].importance != Importance::file) return 0;
  return static_cast<std::size_t>(std::min<std::uint64_t>(plan.tensors[tensor].row_elements(), kMostAtHand)) *
         sizeof(float);
}

PieceWeights::PieceWeights(const Plan::Impl& plan, const Run& run, DType to, EdgeRows edges,
                           std::span<std::byte> scratch)
    : plan_(plan),
      run_(run),
      edges_(edges),
      row_(plan.tensors[run.tensor].row_elements()),
      rows_(plan.tensors[run.tensor].shape.size() < 2 ? 1 : plan.tensors[run.tensor].shape.rbegin()[1]),
      by_file_(plan.origins[run.tensor].importance == Importance::file),
      squares_(needs_row_squares(plan, run.tensor, to)),
      window_(reinterpret_cast<float*>(scratch.data()), scratch.size() / sizeof(float)),
      at_(run.first_element) {
  if (!by_file_) {
    weights_.fill(1);
    return;
  }
  name_ = plan.entries[run.tensor];
  stored_ = plan.imatrix->size_of(name_).value_or(0);
}

codec::Weights PieceWeights::next(std::size_t n) {
  if (by_file_) fill_weights(std::span(weights_).first(n));
  if (squares_) fill_squares(n);
  at_ += n;
  return {weights_.data(), means_.data()};
}

// Makes the window begin with that column's weight. A file has weights for each matrix of a tensor, or the same for
// all.
void PieceWeights::load_window(std::uint64_t row, std::uint64_t column) {
  const std::uint64_t matrix = stored_ > row_ ? row / rows_ : 0;
  const std::uint64_t start = window_.size() >= row_ ? 0 : column;  // a whole row is read once a matrix
  window_at_ = matrix * row_ + start;
  window_size_ = std::min<std::uint64_t>(window_.size(), row_ - start);
  plan_.imatrix->read(name_, window_at_, window_.first(static_cast<std::size_t>(window_size_)));
}

void PieceWeights::fill_weights(std::span<float> out) {
  for (std::size_t done = 0; done < out.size();) {
    const std::uint64_t row = (at_ + done) / row_, column = (at_ + done) % row_;
    const std::uint64_t wanted = (stored_ > row_ ? row / rows_ : 0) * row_ + column;
    if (wanted < window_at_ || wanted >= window_at_ + window_size_) load_window(row, column);
    const std::size_t from = static_cast<std::size_t>(wanted - window_at_);
    const std::size_t n = std::min(out.size() - done, static_cast<std::size_t>(window_size_) - from);
    std::copy_n(window_.begin() + static_cast<std::ptrdiff_t>(from), n,
                out.begin() + static_cast<std::ptrdiff_t>(done));
    done += n;
  }
}

void PieceWeights::fill_squares(std::size_t n) {
  for (std::size_t i = 0; i < n; i += 32) {
    const std::uint64_t row = (at_ + i) / row_;
    if (row != row_known_) {
      mean_ = mean_square_of(row);
      row_known_ = row;
    }
    means_[i / 32] = mean_;
  }
}

float PieceWeights::mean_square_of(std::uint64_t row) const {
  const std::uint64_t begin = row * row_, end = begin + row_;
  if (begin < run_.first_element) return edges_.first;
  if (end > run_.first_element + run_.elements) return edges_.last;
  const DType from = plan_.source_of(run_.tensor).dtype;
  codec::RowSquares squares;
  std::array<float, kTile> tile;
  for (std::uint64_t at = begin; at < end; at += kTile) {
    const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(kTile, end - at));
    codec::decode(from, run_.in.data() + *bytes_of(from, at - run_.first_element), tile.data(), n);
    squares.add(tile.data(), n);
  }
  return squares.mean();
}

}  // namespace headrace::flow
