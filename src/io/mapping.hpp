// Mapping: a file's pages, or some of them, as private memory.
#pragma once

#include "io/file.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace::io {

/// Owns a private, writable mapping of a file's bytes; the file need not outlive it.
class Mapping {
 public:
  /// Throws Error(io).
  explicit Mapping(const File& file);
  /// large_pages: what is beside the bytes asked for is mapped too, to the ends of their first and last 2 MiB. The
  /// system maps a large page of its cache at once where it may map all of it, else 64 KiB at a time.
  enum class Around : std::uint8_t { pages, large_pages };
  /// Of `count` bytes from `first` on, which the file has. Throws Error(io).
  Mapping(const File& file, std::uint64_t first, std::size_t count, Around around = Around::pages);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<std::byte> bytes() const noexcept { return {at_ + lead_, count_}; }
  /// All that is mapped.
  std::span<std::byte> pages() const noexcept { return {at_, size_}; }
  /// Where `bytes` begin in `pages`.
  std::size_t lead() const noexcept { return lead_; }

  /// Has the system bring the pages of `count` of `pages`' bytes from `first` on into memory.
  /// False when it can't: the file is shorter now, or a page can't be read.
  bool populate(std::size_t first, std::size_t count) const noexcept;

  /// Nobody looks at these of `pages`' bytes any more: their whole pages stop being this process's memory, and what was
  /// written to them is gone. The system's cache keeps the file's. False when the system won't: they are locked.
  bool forget(std::size_t first, std::size_t count) const noexcept;

  struct State {
    bool written_to = true;  // somebody has, since they were mapped or forgotten
    bool all_there = false;  // in this process's memory
  };
  /// Of the pages of these of `pages`' bytes; as it is above where the system doesn't say. Linux before 6.11 says of a
  /// file's large pages that they were written to.
  State state_of(std::size_t first, std::size_t count) const noexcept;

 private:
  std::byte* at_ = nullptr;
  std::size_t size_ = 0;
  std::size_t lead_ = 0;   // bytes that are before what was asked for
  std::size_t count_ = 0;  // that were asked for
};

/// False where a mapping costs by its size: this process's addresses or its own memory are limited (RLIMIT_AS,
/// RLIMIT_DATA), or the system sets memory aside for all that may be written to.
bool may_map_more_than_needed() noexcept;

}  // namespace headrace::io
