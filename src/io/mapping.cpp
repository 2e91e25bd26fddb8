#include "io/mapping.hpp"

#include "io/system_error.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace headrace::io {
namespace {

#ifdef MADV_POPULATE_READ
constexpr int kPopulate = MADV_POPULATE_READ;
#else
constexpr int kPopulate = 22;  // of Linux 5.14; older C libraries don't name it
#endif

constexpr std::uint64_t kLargePage = std::uint64_t{2} << 20;

std::size_t page_bytes() noexcept {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

Mapping::Mapping(const File& file) : Mapping(file, 0, static_cast<std::size_t>(file.size())) {}

Mapping::Mapping(const File& file, std::uint64_t first, std::size_t count, Edges edges) {
  if (count == 0) return;
  const bool large = edges == Edges::large_pages;
  const std::uint64_t page = first / page_bytes() * page_bytes(),
                      begin = large ? first / kLargePage * kLargePage : page;
  const std::uint64_t end = first + count;
  lead_ = static_cast<std::size_t>(first - page);
  size_ = lead_ + count;
  mapped_bytes_ = static_cast<std::size_t>(
      (large ? std::min((end + kLargePage - 1) / kLargePage * kLargePage, std::max(end, file.size())) : end) - begin);
  // Without MAP_NORESERVE, a file larger than memory is refused: each page might be written to.
  void* at = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.descriptor(),
                    static_cast<off_t>(begin));
  if (at == MAP_FAILED) throw system_error(errno, "map", file.name());
  mapped_ = static_cast<std::byte*>(at);
  at_ = mapped_ + (page - begin);
  // What is read through it comes in pieces of 2 MiB, and stays in the cache in pages as large: faster the first time,
  // and later hardly any work. Where the system has no such pages, it says so, and nothing is different.
  ::madvise(mapped_, mapped_bytes_, MADV_HUGEPAGE);
}

Mapping::~Mapping() {
  if (mapped_ != nullptr) ::munmap(mapped_, mapped_bytes_);
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
