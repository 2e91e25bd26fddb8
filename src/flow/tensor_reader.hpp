// Reads tensors as what they are, however they lie in their files.
#pragma once

#include "format/checkpoint.hpp"

#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace::flow {

/// Fills `out` with the tensor's bytes from `first_byte` on: row-major, little-endian. The range must lie inside it.
/// Thread-safe where the source is. Throws Error: io, format, cancelled, unsupported.
void read_tensor(const Checkpoint::Impl& source, const TensorInfo& tensor, std::uint64_t first_byte,
                 std::span<std::byte> out);

}  // namespace headrace::flow
