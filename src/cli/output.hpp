// Standard output, written in large chunks.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace headrace::cli {

/// Collects what a command prints and writes it 64 KiB at a time: a plan of 100,000 tensors takes a hundred system
/// calls and no more memory than one of ten.
/// When the reader goes away (`headrace inspect … | head`), the rest is dropped silently and closed() says so; any
/// other failure throws Error(io).
/// Thread-safety: one thread.
class Output {
 public:
  /// `name`: as errors call it.
  explicit Output(int descriptor, std::string name = "to standard output")
      : descriptor_(descriptor), name_(std::move(name)) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::string_view text) {
    buffer_.append(text);
    if (buffer_.size() >= kChunk) flush();
  }
  template <typename... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(buffer_), format, std::forward<Args>(args)...);
    if (buffer_.size() >= kChunk) flush();
  }
  void repeat(char c, std::size_t times);

  /// Writes out what is collected.
  void flush();
  /// Forgets what is collected and not yet written.
  void discard() { buffer_.clear(); }
  /// True when nobody reads any more.
  bool closed() const noexcept { return closed_; }

 private:
  static constexpr std::size_t kChunk = std::size_t{64} << 10;

  fmt::memory_buffer buffer_;
  int descriptor_;
  std::string name_;
  bool closed_ = false;
};

}  // namespace headrace::cli
