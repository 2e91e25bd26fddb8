#include "flow/piece_errors.hpp"

#include <algorithm>

namespace headrace::flow {

void PieceErrors::add(const Difference& tile) noexcept {
  squared_error_.add(tile.squared_error);
  squared_.add(tile.squared);
  squared_other_.add(tile.squared_other);
  product_.add(tile.product);
  largest_ = std::max(largest_, tile.largest);
}

void PieceErrors::add(const PieceErrors& other) noexcept {
  squared_error_.add(other.squared_error_);
  squared_.add(other.squared_);
  squared_other_.add(other.squared_other_);
  product_.add(other.product_);
  largest_ = std::max(largest_, other.largest_);
}

Difference PieceErrors::total() const noexcept {
  return {squared_error_.value(), squared_.value(), squared_other_.value(), product_.value(), largest_};
}

void measure_run(DType from, const std::byte* in, DType to, const std::byte* out, std::size_t elements,
                 PieceErrors& into) noexcept {
  while (elements > 0) {
    const std::size_t now = std::min(elements, kErrorTile);
    into.add(difference(from, in, to, out, now));
    in += *bytes_of(from, now);
    out += *bytes_of(to, now);
    elements -= now;
  }
}

}  // namespace headrace::flow
