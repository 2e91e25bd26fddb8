#include "io/wide_write.hpp"

#include "base/workers.hpp"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>

namespace headrace::io {
namespace {

constexpr std::uint64_t kWindow = std::uint64_t{8} << 20;  // also the alignment of parts in the file
constexpr std::uint64_t kLeast = 4 * kWindow;
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

// The run cut at multiples of the window in the file, taken from both ends.
class Parts {
 public:
  Parts(std::uint64_t offset, std::span<const std::byte> bytes)
      : offset_(offset),
        bytes_(bytes),
        count_((offset % kWindow + bytes.size() + kWindow - 1) / kWindow),
        left_(count_) {}

  struct Part {
    std::uint64_t offset;
    std::span<const std::byte> bytes;
  };
  std::optional<Part> front() { return take() ? std::optional(at(front_++)) : std::nullopt; }
  std::optional<Part> back() { return take() ? std::optional(at(count_ - 1 - back_++)) : std::nullopt; }

 private:
  bool take() {
    std::uint64_t left = left_;
    while (left > 0 && !left_.compare_exchange_weak(left, left - 1)) {
    }
    return left > 0;
  }
  Part at(std::uint64_t i) const {
    const std::uint64_t grid = offset_ / kWindow * kWindow;
    const std::uint64_t begin = std::max(offset_, grid + i * kWindow);
    const std::uint64_t end = std::min(offset_ + bytes_.size(), grid + (i + 1) * kWindow);
    return {begin, bytes_.subspan(begin - offset_, end - begin)};
  }

  const std::uint64_t offset_;
  const std::span<const std::byte> bytes_;
  const std::uint64_t count_;
  std::atomic<std::uint64_t> left_;
  std::uint64_t front_ = 0, back_ = 0;  // each is one thread's
};

// False, and the file as it was, when the system can't. Asked to find the memory first, it says that there is none;
// touching a page that isn't there would end the process.
bool copy_mapped(int fd, const Parts::Part& part) {
  void* const memory =
      ::mmap(nullptr, part.bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(part.offset));
  if (memory == MAP_FAILED) return false;
  const bool there = ::madvise(memory, part.bytes.size(), MADV_POPULATE_WRITE) == 0;
  if (there) std::memcpy(memory, part.bytes.data(), part.bytes.size());
  ::munmap(memory, part.bytes.size());
  return there;
}

}  // namespace

bool is_worth_two(int fd, std::uint64_t bytes) noexcept {
  struct statfs about {};
  return bytes >= kLeast && base::worker_count(0) > 1 && ::fstatfs(fd, &about) == 0 && about.f_type == TMPFS_MAGIC;
}

void write_wide(int fd, std::uint64_t offset, std::span<const std::byte> bytes, const WriteAt& write) {
  Parts parts(offset, bytes);
  std::optional<Parts::Part> part = parts.front();  // the first is the one that may not begin at a window's edge
  std::optional<Parts::Part> left_over;
  {
    std::atomic<bool> failed = false;  // the rest is of no use then
    const base::Workers other(1, [&]() noexcept {
      while (!left_over && !failed) {
        const auto last = parts.back();
        if (!last) return;
        if (!copy_mapped(fd, *last)) left_over = last;
      }
    });
    try {
      for (; part; part = parts.front()) write(part->offset, part->bytes);
    } catch (...) {
      failed = true;
      throw;
    }
  }
  if (left_over) write(left_over->offset, left_over->bytes);
}

}  // namespace headrace::io
