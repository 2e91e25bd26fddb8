#include "memory.hpp"

#include <sys/mman.h>

namespace headrace::python {

void advise_huge_pages(std::span<std::byte> memory) noexcept {
  constexpr std::size_t kLarge = std::size_t{4} << 20, kPage = 4096;
  if (memory.size() < kLarge) return;
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::uintptr_t first = (address + kPage - 1) / kPage * kPage, end = (address + memory.size()) / kPage * kPage;
  // The system may know no such pages; nothing is lost then.
  ::madvise(memory.data() + (first - address), end - first, MADV_HUGEPAGE);
}

}  // namespace headrace::python
