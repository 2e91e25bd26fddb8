// Cursor: a GGUF header's numbers and strings, one after the other, through a small window.
#pragma once

#include "io/byte_source.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace headrace::format::gguf {

/// Reads forward only. Every read is checked against the end of the file; what is asked for beyond it throws
/// Error(format) with the offset, `what` was being read, and the `tensor` it belongs to, if any. Of a stream whose end
/// isn't known, left() is huge and the end is found where it comes.
class Cursor {
 public:
  static constexpr std::size_t kWindow = std::size_t{64} << 10;

  explicit Cursor(const io::ByteSource& source);

  std::uint64_t position() const noexcept { return window_at_ + next_; }
  std::uint64_t left() const noexcept { return size_ - position(); }

  /// From here on, numbers in the file are in the other byte order.
  void set_swapped() noexcept { swapped_ = true; }
  bool swapped() const noexcept { return swapped_; }

  std::uint32_t u32(const char* what, std::string_view tensor = {});
  std::uint64_t u64(const char* what, std::string_view tensor = {});
  /// The bytes as they lie in the file.
  void read(std::span<std::byte> out, const char* what, std::string_view tensor = {});
  /// Numbers of `width` bytes each, made little-endian.
  void read_numbers(std::span<std::byte> out, std::size_t width, const char* what, std::string_view tensor = {});

  /// Throws Error(format) unless that many bytes are left.
  void require(std::uint64_t bytes, const char* what, std::string_view tensor = {}) const;

 private:
  void fill(const char* what, std::string_view tensor);
  std::size_t receive(std::span<std::byte> out, const char* what, std::string_view tensor);
  [[noreturn]] void fail_at_end(std::uint64_t wanted, std::uint64_t found, const char* what,
                                std::string_view tensor) const;

  const io::ByteSource& source_;
  std::uint64_t size_;
  std::unique_ptr<std::byte[]> window_;
  std::uint64_t window_at_ = 0;        // offset of the window's first byte
  std::size_t next_ = 0, filled_ = 0;  // in the window
  bool swapped_ = false;
};

}  // namespace headrace::format::gguf
