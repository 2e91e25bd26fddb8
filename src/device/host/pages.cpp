#include "device/host/pages.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>

namespace headrace::device::host {
namespace {

// Below this, memory comes from the heap: a mapping takes whole pages and a place in the system's list of 65,530.
constexpr std::size_t kMapped = std::size_t{1} << 20;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::shared_ptr<std::byte> from_heap(std::size_t bytes, std::size_t alignment) {
  const auto align = std::align_val_t(alignment);
  auto* at = static_cast<std::byte*>(::operator new(bytes, align, std::nothrow));
  if (at == nullptr) return nullptr;
  return {at, [align](std::byte* used) { ::operator delete(used, align); }};
}

std::shared_ptr<std::byte> from_pages(std::size_t bytes, std::size_t alignment, bool huge, int flags = 0) {
  const std::size_t filled = huge ? bytes / kHugePage * kHugePage : 0;
  const std::size_t align = std::max(alignment, filled > 0 ? kHugePage : alignment), size = bytes + align;
  if (size < bytes) return nullptr;
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  auto* begin = reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(at) + align - 1) / align * align);
  if (filled > 0) ::madvise(begin, filled, MADV_HUGEPAGE);  // a system without them says no
  return {begin, [at, size](std::byte*) { ::munmap(at, size); }};
}

}  // namespace

std::shared_ptr<std::byte> make_memory(std::size_t bytes, std::size_t alignment, bool huge) {
  return bytes < kMapped ? from_heap(bytes, alignment) : from_pages(bytes, alignment, huge);
}

std::shared_ptr<std::byte> reserve_memory(std::size_t bytes) {
  return from_pages(bytes, kHugePage, true, MAP_NORESERVE);
}

bool drop_memory(std::byte* at, std::size_t bytes) noexcept { return ::madvise(at, bytes, MADV_DONTNEED) == 0; }

}  // namespace headrace::device::host
