// Two sinks for one routine that writes a header: the first counts, the second fills memory of exactly that size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace headrace::format {

class ByteCounter {
 public:
  void put(std::string_view text) noexcept { size_ += text.size(); }
  void put(std::span<const std::byte> bytes) noexcept { size_ += bytes.size(); }
  void pad(std::uint64_t bytes, char) noexcept { size_ += bytes; }
  std::uint64_t size() const noexcept { return size_; }

 private:
  std::uint64_t size_ = 0;
};

/// `out` must have the size that a ByteCounter found for the same writes.
class ByteFiller {
 public:
  explicit ByteFiller(std::span<std::byte> out) noexcept : begin_(out.data()), next_(out.data()) {}

  void put(std::string_view text) noexcept { put(std::as_bytes(std::span(text))); }
  void put(std::span<const std::byte> bytes) noexcept {
    if (!bytes.empty()) std::memcpy(next_, bytes.data(), bytes.size());
    next_ += bytes.size();
  }
  void pad(std::uint64_t bytes, char with) noexcept {
    std::memset(next_, with, static_cast<std::size_t>(bytes));
    next_ += bytes;
  }
  std::uint64_t size() const noexcept { return static_cast<std::uint64_t>(next_ - begin_); }

 private:
  std::byte* begin_;
  std::byte* next_;
};

}  // namespace headrace::format
