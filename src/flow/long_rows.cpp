#include "flow/long_rows.hpp"

#include "codec/codec.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace headrace::flow {
namespace {

constexpr std::size_t kRead = std::size_t{64} << 10;  // numbers at a time
constexpr std::size_t kTile = 2048;                   // numbers decoded at a time; whole blocks of every type

}  // namespace

float LongRows::mean_square(std::uint32_t tensor, std::uint64_t row) {
  const std::lock_guard lock(mutex_);
  const auto [at, is_new] = known_.try_emplace({tensor, row});
  if (!is_new) return at->second;
  try {
    return at->second = measure(tensor, row);
  } catch (...) {
    known_.erase(at);
    throw;
  }
}

float LongRows::measure(std::uint32_t tensor, std::uint64_t row) {
  const TensorInfo& from = plan_.source_of(tensor);
  const std::uint64_t length = plan_.tensors[tensor].row_elements();
  const std::uint64_t first = row * length;
  codec::RowSquares squares;
  std::array<float, kTile> tile;
  for (std::uint64_t done = 0; done < length; done += kRead) {
    const std::size_t part = static_cast<std::size_t>(std::min<std::uint64_t>(kRead, length - done));
    // Given back and taken anew, so that cancelling ends this too.
    const base::Gate::Slab slab = gate_.acquire(*bytes_of(from.dtype, part));
    const auto bytes = slab.bytes().first(*bytes_of(from.dtype, part));
    reader_.read(tensor, *bytes_of(from.dtype, first + done), bytes);
    for (std::size_t at = 0; at < part; at += kTile) {
      const std::size_t n = std::min(kTile, part - at);
      codec::decode(from.dtype, bytes.data() + *bytes_of(from.dtype, at), tile.data(), n);
      squares.add(tile.data(), n);
    }
  }
  return squares.mean();
}

}  // namespace headrace::flow
