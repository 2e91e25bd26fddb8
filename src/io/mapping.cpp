#include "io/mapping.hpp"

#include "io/system_error.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace headrace::io {
namespace {

#ifdef MADV_POPULATE_READ
constexpr int kPopulate = MADV_POPULATE_READ;
#else
constexpr int kPopulate = 22;  // of Linux 5.14; older C libraries don't name it
#endif

std::size_t page_bytes() noexcept {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

Mapping::Mapping(const File& file) : Mapping(file, 0, static_cast<std::size_t>(file.size())) {}

Mapping::Mapping(const File& file, std::uint64_t first, std::size_t count) {
  if (count == 0) return;
  lead_ = static_cast<std::size_t>(first % page_bytes());
  size_ = lead_ + count;
  // Without MAP_NORESERVE, a file larger than memory is refused: each page might be written to.
  void* at = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.descriptor(),
                    static_cast<off_t>(first - lead_));
  if (at == MAP_FAILED) throw system_error(errno, "map", file.name());
  at_ = static_cast<std::byte*>(at);
  // What is read through it comes in pieces of 2 MiB, and stays in the cache in pages as large: faster the first time,
  // and later hardly any work. Where the system has no such pages, it says so, and nothing is different.
  ::madvise(at_, size_, MADV_HUGEPAGE);
}

Mapping::~Mapping() {
  if (at_ != nullptr) ::munmap(at_, size_);
}

bool Mapping::populate(std::size_t first, std::size_t count) const noexcept {
  int failed = 0;
  do {
    failed = ::madvise(at_ + first, count, kPopulate) == 0 ? 0 : errno;
  } while (failed == EINTR || failed == EAGAIN);
  if (failed != EINVAL) return failed == 0;
  ::madvise(at_ + first, count, MADV_WILLNEED);
  return true;
}

void Mapping::forget(std::size_t first, std::size_t count) const noexcept {
  const std::size_t page = page_bytes();
  const bool to_the_end = first + count == size_;  // nobody else's is behind
  const std::size_t begin = (first + page - 1) / page * page;
  const std::size_t end = to_the_end ? size_ : (first + count) / page * page;
  if (begin < end) ::madvise(at_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace headrace::io
