// In which order the tensors of a safetensors file lie, which has no padding between them.
#pragma once

#include <headrace/tensor.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace headrace::plan {

/// True where each tensor, laid behind the one before, begins at a multiple of its element's bytes. `order`: indexes
/// into `tensors`.
bool is_aligned(std::span<const TensorInfo> tensors, std::span<const std::uint32_t> order);

/// The order changed so that the widest elements come first and every tensor is aligned; the reference writer sorts so
/// too. F6 and F4 come last: their length may be odd, and they need no alignment.
std::vector<std::uint32_t> widest_first(std::span<const TensorInfo> tensors, std::span<const std::uint32_t> order);

}  // namespace headrace::plan
