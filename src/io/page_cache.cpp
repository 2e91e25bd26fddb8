#include "io/page_cache.hpp"

#include "io/mapping.hpp"
#include "io/system_error.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>

namespace headrace::io {
namespace {

// cachestat, of Linux 6.5, and what it takes; older C libraries don't know them.
#ifdef SYS_cachestat
constexpr long kCachestat = SYS_cachestat;
#else
constexpr long kCachestat = 451;
#endif
struct CacheRange {
  std::uint64_t first, count;
};
struct CacheState {
  std::uint64_t cached, dirty, written_back, evicted, recently_evicted;  // pages
};

// Counting the small pages of gigabytes takes longer than opening a checkpoint of them.
constexpr std::uint64_t kSamples = 64, kSample = std::uint64_t{1} << 20;

std::uint64_t page_size() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

std::optional<std::uint64_t> cached_pages(const File& file, std::uint64_t first, std::uint64_t count) noexcept {
  CacheRange range{first, count};
  CacheState state{};
  if (::syscall(kCachestat, file.descriptor(), &range, &state, 0U) != 0) return std::nullopt;
  return state.cached;
}

// To all others mincore says that every page is there (Linux 5.2), lest it tells what somebody else reads.
bool may_ask_mincore(const File& file) noexcept {
  struct stat about {};
  if (::fstat(file.descriptor(), &about) != 0) return false;
  if (about.st_uid == ::geteuid()) return true;
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", file.descriptor());
  return ::access(path.data(), W_OK) == 0;
}

// Of `count` bytes mapped at `at`.
std::optional<std::uint64_t> resident_pages(void* at, std::uint64_t count, std::uint64_t page) noexcept {
  std::array<unsigned char, 4096> there;
  std::uint64_t resident = 0;
  for (std::uint64_t done = 0; done < count; done += there.size() * page) {
    const std::uint64_t bytes = std::min(count - done, there.size() * page);
    if (::mincore(static_cast<char*>(at) + done, bytes, there.data()) != 0) return std::nullopt;
    const auto pages = static_cast<std::ptrdiff_t>((bytes + page - 1) / page);
    resident += static_cast<std::uint64_t>(
        std::count_if(there.begin(), there.begin() + pages, [](unsigned char state) { return (state & 1) != 0; }));
  }
  return resident;
}

}  // namespace

std::optional<bool> is_cached(const File& file, std::uint64_t first, std::uint64_t count) noexcept {
  const auto all_of = [&](std::uint64_t at, std::uint64_t bytes) -> std::optional<bool> {
    const std::uint64_t page = page_size();
    const auto cached = cached_pages(file, at, bytes);
    if (!cached) return std::nullopt;
    return *cached >= (at % page + bytes + page - 1) / page;
  };
  if (count <= kSamples * kSample) return all_of(first, count);
  for (std::uint64_t i = 0; i < kSamples; ++i) {
    const auto cached = all_of(first + (count - kSample) / (kSamples - 1) * i, kSample);
    if (!cached || !*cached) return cached;
  }
  return true;
}

bool says_what_is_cached(const File& file) noexcept {
  char byte = 0;
  return file.size() > 0 && ::pread(file.descriptor(), &byte, 1, 0) == 1 && is_cached(file, 0, 1) == true;
}

std::optional<double> cached_share(const File& file, std::uint64_t first, std::uint64_t count) noexcept {
  const std::uint64_t page = page_size();
  const auto cached = cached_pages(file, first, count);
  if (!cached || count == 0) return std::nullopt;
  return std::min(1.0, static_cast<double>(*cached) / static_cast<double>((first % page + count + page - 1) / page));
}

std::optional<double> cached_share(const File& file) noexcept {
  if (file.size() == 0) return 1;
  const std::uint64_t page = page_size();
  const auto cached = cached_pages(file, 0, file.size());
  if (!cached) return mapped_share(file);
  return std::min(1.0, static_cast<double>(*cached) / static_cast<double>((file.size() + page - 1) / page));
}

std::optional<double> mapped_share(const File& file) noexcept {
  if (file.size() == 0) return 1;
  if (!may_ask_mincore(file)) return std::nullopt;
  void* const at = ::mmap(nullptr, file.size(), PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (at == MAP_FAILED) return std::nullopt;
  const std::uint64_t page = page_size();
  const auto resident = resident_pages(at, file.size(), page);
  ::munmap(at, file.size());
  if (!resident) return std::nullopt;
  return static_cast<double>(*resident) / static_cast<double>((file.size() + page - 1) / page);
}

void bring_into_cache(const File& file, std::uint64_t first, std::uint64_t count, const std::atomic<bool>& stop) {
  constexpr std::uint64_t kAtOnce = std::uint64_t{8} << 20, kFew = std::uint64_t{128} << 10;
  if (count < kFew) {  // a mapping would bring all of the 2 MiB around them
    std::array<std::byte, 16 << 10> seen;
    for (std::uint64_t at = first, end = first + count; at < end; at += seen.size()) {
      const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(seen.size(), end - at));
      if (::pread(file.descriptor(), seen.data(), bytes, static_cast<off_t>(at)) <= 0) return;
    }
    return;
  }
  for (std::uint64_t at = first, end = first + count; at < end && !stop; at += kAtOnce) {
    const Mapping pages(file, at, static_cast<std::size_t>(std::min(kAtOnce, end - at)));
    if (!pages.populate(0, pages.pages().size())) return;  // whoever reads it learns why
  }
}

void drop_cached(const File& file, std::uint64_t first, std::uint64_t count) noexcept {
  if (count == 0) return;  // to posix_fadvise, all that follows
  ::posix_fadvise(file.descriptor(), static_cast<off_t>(first), static_cast<off_t>(count), POSIX_FADV_DONTNEED);
}

void flush_and_drop(const File& file) {
  // Pages that aren't on the disk yet can't be forgotten. A file system that knows no flushing has none of those.
  if (::fdatasync(file.descriptor()) != 0 && errno != EINVAL && errno != EROFS)
    throw system_error(errno, "flush the file", file.name());
  // Advice: a refusal changes nothing, and cached_share tells.
  (void)::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace headrace::io
