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
  /// Of `count` bytes from `first` on, which the file has. Throws Error(io).
  Mapping(const File& file, std::uint64_t first, std::size_t count);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<std::byte> bytes() const noexcept { return {at_ + lead_, size_ - lead_}; }
  /// The same from its first page's beginning on.
  std::span<std::byte> pages() const noexcept { return {at_, size_}; }

  /// Has the system bring the pages of `count` of `pages`' bytes from `first` on into memory.
  /// False when it can't: the file is shorter now, or a page can't be read.
  bool populate(std::size_t first, std::size_t count) const noexcept;

  /// Nobody looks at these of `pages`' bytes any more: their whole pages stop being this process's memory, and what was
  /// written to them is gone. The system's cache keeps the file's.
  void forget(std::size_t first, std::size_t count) const noexcept;

  /// Whether somebody has written to the pages of these of `pages`' bytes since they were mapped, or forgotten. True
  /// where the system doesn't say.
  bool was_written_to(std::size_t first, std::size_t count) const noexcept;

 private:
  std::byte* at_ = nullptr;
  std::size_t size_ = 0;
  std::size_t lead_ = 0;  // bytes of the first page that are before what was asked for
};

}  // namespace headrace::io
