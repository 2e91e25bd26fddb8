#include "plan/data_order.hpp"

#include <algorithm>
#include <cstddef>

namespace headrace::plan {
namespace {

// Bits of an element of a type that safetensors holds.
std::size_t bits_of(DType dtype) { return std::size_t{8} * info(dtype).block_bytes / info(dtype).block_elements; }

}  // namespace

bool is_aligned(std::span<const TensorInfo> tensors, std::span<const std::uint32_t> order) {
  std::uint64_t at = 0;
  for (const std::uint32_t i : order) {
    const std::size_t bits = bits_of(tensors[i].dtype);
    if (bits >= 8 && at % (bits / 8) != 0) return false;
    at += tensors[i].bytes;
  }
  return true;
}

std::vector<std::uint32_t> widest_first(std::span<const TensorInfo> tensors, std::span<const std::uint32_t> order) {
  std::vector<std::uint32_t> sorted(order.begin(), order.end());
  std::stable_sort(sorted.begin(), sorted.end(), [&](std::uint32_t a, std::uint32_t b) {
    return bits_of(tensors[a].dtype) > bits_of(tensors[b].dtype);
  });
  return sorted;
}

}  // namespace headrace::plan
