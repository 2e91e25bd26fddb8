// Lookahead: bytes that came with others, for those who will ask for them next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace headrace::io::http {

/// Holds a file's first bytes, which hold its header, and a window behind small reads that follow one another: a
/// header read by the kilobyte would wait for the server each time. It never asks for more than was read in order
/// before, so that reads here and there cost nothing. Thread-safe.
class Lookahead {
 public:
  static constexpr std::size_t kSmall = std::size_t{64} << 10;  ///< larger reads need no help
  static constexpr std::size_t kMost = std::size_t{1} << 20;

  /// `size`: of the file.
  Lookahead(std::vector<std::byte> head, std::uint64_t size);

  /// Copies what it holds of the bytes from `offset` on; how many.
  std::size_t take(std::uint64_t offset, std::span<std::byte> out);

  /// How many bytes more to ask for when the `bytes` bytes of a small read at `offset` aren't here; they are put()
  /// then.
  std::size_t ahead(std::uint64_t offset, std::size_t bytes);
  void put(std::uint64_t offset, std::vector<std::byte> window);

  std::size_t memory() const;

 private:
  const std::vector<std::byte> head_;
  const std::uint64_t size_;
  mutable std::mutex mutex_;
  std::uint64_t window_at_ = 0;
  std::vector<std::byte> window_;
  std::size_t window_left_ = 0;  // bytes of it that nobody has taken yet
  std::uint64_t end_, run_;      // of the last small reads in order, windows included
};

}  // namespace headrace::io::http
