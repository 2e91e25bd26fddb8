// Memory of this process for large tensors.
#pragma once

#include <cstddef>
#include <memory>

namespace headrace::device::host {

/// `bytes` (not 0) bytes that begin at a multiple of `alignment`, a power of two, with undefined contents. Small memory
/// comes from the heap; large memory is pages of its own, and with `huge` pages where the system has huge ones, never
/// more of them than the bytes fill. Null when there is none.
std::shared_ptr<std::byte> make_memory(std::size_t bytes, std::size_t alignment, bool huge);

}  // namespace headrace::device::host
