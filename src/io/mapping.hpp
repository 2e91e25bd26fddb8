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
  /// Where it begins and ends: at the pages of what was asked for, or at the large pages around it. What the system's
  /// cache holds in those is mapped by one fault each, and some neighbours with it.
  enum class Edges : std::uint8_t { pages, large_pages };

  /// Throws Error(io).
  explicit Mapping(const File& file);
  /// Of `count` bytes from `first` on, which the file has. Throws Error(io).
  Mapping(const File& file, std::uint64_t first, std::size_t count, Edges edges = Edges::pages);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<std::byte> bytes() const noexcept { return {at_ + lead_, size_ - lead_}; }
  /// The same from its first page's beginning on.
  std::span<std::byte> pages() const noexcept { return {at_, size_}; }

  /// Has the system bring `count` of `pages`' bytes from `first` on, a multiple of the page's size, into memory.
  /// False when it can't: the file is shorter now, or a page can't be read.
  bool populate(std::size_t first, std::size_t count) const noexcept;

  /// Nobody looks at these of `pages`' bytes any more: their whole pages stop being this process's memory, and what was
  /// written to them is gone. The system's cache keeps the file's.
  void forget(std::size_t first, std::size_t count) const noexcept;

 private:
  std::byte *at_ = nullptr, *mapped_ = nullptr;  // the first page of what was asked for; of all
  std::size_t size_ = 0, mapped_bytes_ = 0;
  std::size_t lead_ = 0;  // bytes of the first page that are before what was asked for
};

}  // namespace headrace::io
