// Arena: many small things with one lifetime, at stable addresses, without an allocation each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace headrace::base {

/// Hands out memory from growing chunks; frees it all at once. Not thread-safe.
class Arena {
 public:
  /// Uninitialised memory for `bytes`, aligned to 8.
  std::byte* allocate(std::size_t bytes) {
    bytes = (bytes + 7) / 8 * 8;
    if (bytes > left_) grow(bytes);
    std::byte* at = next_;
    next_ += bytes;
    left_ -= bytes;
    return at;
  }

  std::string_view copy(std::string_view text) {
    if (text.empty()) return {};
    std::byte* at = allocate(text.size());
    std::memcpy(at, text.data(), text.size());
    return {reinterpret_cast<const char*>(at), text.size()};
  }

  std::span<const std::uint64_t> copy(std::span<const std::uint64_t> numbers) {
    if (numbers.empty()) return {};
    std::byte* at = allocate(numbers.size_bytes());
    std::memcpy(at, numbers.data(), numbers.size_bytes());
    return {reinterpret_cast<const std::uint64_t*>(at), numbers.size()};
  }

  /// Bytes held, unused rest included.
  std::size_t memory() const noexcept { return held_; }

 private:
  void grow(std::size_t bytes) {
    constexpr std::size_t kChunk = 64 << 10;
    const std::size_t size = bytes > kChunk / 4 ? bytes : kChunk;
    chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(size));
    held_ += size;
    next_ = chunks_.back().get();
    left_ = size;
  }

  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0, held_ = 0;
};

}  // namespace headrace::base
