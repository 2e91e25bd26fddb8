#include "io/mapping.hpp"

#include "io/system_error.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

// Of a page in /proc/self/pagemap: it is there, or was swapped out; it is a file's.
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63, kSwapped = std::uint64_t{1} << 62,
                        kOfAFile = std::uint64_t{1} << 61;

}  // namespace

Mapping::Mapping(const File& file) : Mapping(file, 0, static_cast<std::size_t>(file.size())) {}

Mapping::Mapping(const File& file, std::uint64_t first, std::size_t count, Around around) {
  if (count == 0) return;
  const std::uint64_t whole = around == Around::large_pages ? kLargePage : page_bytes();
  const std::uint64_t begin = first / whole * whole, end = first + count;
  const std::uint64_t behind = around == Around::large_pages ? (end + whole - 1) / whole * whole : end;
  lead_ = static_cast<std::size_t>(first - begin);
  count_ = count;
  size_ = static_cast<std::size_t>(std::max(end, std::min(behind, file.size())) - begin);
  // Without MAP_NORESERVE, a file larger than memory is refused: each page might be written to.
  void* at = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.descriptor(),
                    static_cast<off_t>(begin));
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
  const std::size_t lead = first % page_bytes();
  int failed = 0;
  do {
    failed = ::madvise(at_ + first - lead, lead + count, kPopulate) == 0 ? 0 : errno;
  } while (failed == EINTR || failed == EAGAIN);
  if (failed != EINVAL) return failed == 0;
  ::madvise(at_ + first - lead, lead + count, MADV_WILLNEED);
  return true;
}

bool Mapping::forget(std::size_t first, std::size_t count) const noexcept {
  const std::size_t page = page_bytes();
  const bool to_the_end = first + count == size_;  // nobody else's is behind
  const std::size_t begin = (first + page - 1) / page * page;
  const std::size_t end = to_the_end ? size_ : (first + count) / page * page;
  return begin >= end || ::madvise(at_ + begin, end - begin, MADV_DONTNEED) == 0;
}

// A page that was written to is a copy, and no file's any more.
Mapping::State Mapping::state_of(std::size_t first, std::size_t count) const noexcept {
  // Opened each time: a process that forks has another memory than its parent.
  const Descriptor pages(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pages) return {};
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(at_ + first) / page_bytes(),
                       end = (reinterpret_cast<std::uintptr_t>(at_ + first + count) + page_bytes() - 1) / page_bytes();
  State state{.written_to = false, .all_there = true};
  std::array<std::uint64_t, 512> found{};
  for (std::uintptr_t at = begin; at < end && !state.written_to; at += found.size()) {
    const std::size_t wanted = std::min<std::size_t>(found.size(), end - at);
    const ::ssize_t got = ::pread(pages.get(), found.data(), 8 * wanted, static_cast<off_t>(8 * at));
    if (got != static_cast<::ssize_t>(8 * wanted)) return {};
    for (const std::uint64_t page : std::span(found).first(wanted)) {
      state.all_there = state.all_there && (page & kPresent) != 0;
      state.written_to = state.written_to || ((page & (kPresent | kSwapped)) != 0 && (page & kOfAFile) == 0);
    }
  }
  return state;
}

bool may_map_more_than_needed() noexcept {
  static const bool all_is_set_aside = [] {
    const Descriptor file(::open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC));
    char mode = 0;
    return file && ::read(file.get(), &mode, 1) == 1 && mode == '2';
  }();
  const auto is_limited = [](int resource) {
    struct rlimit limit {};
    return ::getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  };
  return !all_is_set_aside && !is_limited(RLIMIT_AS) && !is_limited(RLIMIT_DATA);
}

}  // namespace headrace::io
