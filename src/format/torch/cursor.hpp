// Cursor: a pickle's bytes, one after the other, through a small window.
#pragma once

#include "io/byte_source.hpp"

#include <headrace/error.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace headrace::format::torch {

/// Reads forward only, from `begin` to `end` of a source. Asked for more than is there, it throws Error(format) with
/// the offset. Several pickles in a row are read through one cursor.
class Cursor {
 public:
  static constexpr std::size_t kWindow = std::size_t{64} << 10;
  static constexpr std::size_t kMostLine = 4096;

  Cursor(const io::ByteSource& source, std::uint64_t begin, std::uint64_t end)
      : source_(source), window_(std::make_unique_for_overwrite<std::byte[]>(kWindow)), window_at_(begin), end_(end) {}

  const std::string& file() const noexcept { return source_.name(); }
  /// In the source.
  std::uint64_t position() const noexcept { return window_at_ + next_; }
  std::uint64_t left() const noexcept { return end_ - position(); }

  std::uint8_t u8() {
    if (next_ == filled_) fill();
    return std::to_integer<std::uint8_t>(window_[next_++]);
  }
  /// A little-endian number of so many bytes, at most 8.
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < bytes; ++i) number |= std::uint64_t{u8()} << (8 * i);
    return number;
  }
  void read(std::span<std::byte> out);
  void skip(std::uint64_t bytes);
  /// Up to the next newline, without it; valid until the next call of anything. At most kMostLine bytes.
  std::string_view line();

  /// Throws Error(format) unless that many bytes are left.
  void require(std::uint64_t bytes) const;

  /// Throws Error(format), or another code, with the file and `at`.
  [[noreturn]] void fail(std::uint64_t at, std::string problem, std::string expected = {}, std::string found = {},
                         std::string hint = {}, ErrorCode code = ErrorCode::format) const;

 private:
  void fill();

  const io::ByteSource& source_;
  std::unique_ptr<std::byte[]> window_;
  std::uint64_t window_at_, end_;      // in the source: the window's first byte, and the end of what is read
  std::size_t next_ = 0, filled_ = 0;  // in the window
  std::string line_;
};

}  // namespace headrace::format::torch
