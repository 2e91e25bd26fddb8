// Memory of this process for large tensors.
#pragma once

#include <cstddef>
#include <memory>

namespace headrace::device::host {

/// `bytes` (not 0) bytes that begin at a multiple of `alignment`, a power of two, with undefined contents. Small memory
/// comes from the heap; large memory is pages of its own, and with `huge` pages where the system has huge ones, never
/// more of them than the bytes fill. Null when there is none.
std::shared_ptr<std::byte> make_memory(std::size_t bytes, std::size_t alignment, bool huge);

/// Addresses for so many bytes, from a multiple of 2 MiB on, for huge pages where the system has them. They take no
/// memory until they are written to, and none is set aside for them. Null when there are none.
std::shared_ptr<std::byte> reserve_memory(std::size_t bytes);
/// The system has the whole pages of these bytes, of memory from here, back; read again they are zeros. False when it
/// won't: they are locked.
bool drop_memory(std::byte* at, std::size_t bytes) noexcept;

}  // namespace headrace::device::host
