#include "format/gguf/cursor.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace headrace::format::gguf {

Cursor::Cursor(const io::ByteSource& source)
    : source_(source), size_(source.size()), window_(std::make_unique_for_overwrite<std::byte[]>(kWindow)) {}

std::uint32_t Cursor::u32(const char* what, std::string_view tensor) {
  std::uint32_t number = 0;
  read_numbers(std::as_writable_bytes(std::span(&number, 1)), sizeof number, what, tensor);
  return number;
}

std::uint64_t Cursor::u64(const char* what, std::string_view tensor) {
  std::uint64_t number = 0;
  read_numbers(std::as_writable_bytes(std::span(&number, 1)), sizeof number, what, tensor);
  return number;
}

void Cursor::require(std::uint64_t bytes, const char* what, std::string_view tensor) const {
  if (bytes > left()) fail_at_end(bytes, left(), what, tensor);
}

void Cursor::read(std::span<std::byte> out, const char* what, std::string_view tensor) {
  require(out.size(), what, tensor);
  while (!out.empty()) {
    if (next_ == filled_) {
      if (out.size() >= kWindow) {  // a long run goes straight to its place
        window_at_ = position();
        next_ = filled_ = 0;
        const std::size_t got = receive(out, what, tensor);
        window_at_ += got;
        out = out.subspan(got);
        continue;
      }
      fill(what, tensor);
    }
    const std::size_t part = std::min(out.size(), filled_ - next_);
    std::memcpy(out.data(), window_.get() + next_, part);
    next_ += part;
    out = out.subspan(part);
  }
}

void Cursor::read_numbers(std::span<std::byte> out, std::size_t width, const char* what, std::string_view tensor) {
  read(out, what, tensor);
  if (!swapped_ || width == 1) return;
  for (; !out.empty(); out = out.subspan(width)) std::ranges::reverse(out.first(width));
}

void Cursor::fill(const char* what, std::string_view tensor) {
  window_at_ += filled_;
  next_ = filled_ = 0;
  const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(kWindow, size_ - window_at_));
  filled_ = receive(std::span(window_.get(), most), what, tensor);
}

// What there is from position() on, at least a byte.
std::size_t Cursor::receive(std::span<std::byte> out, const char* what, std::string_view tensor) {
  const std::size_t got = source_.read_some_at(position(), out);
  if (got == 0) fail_at_end(1, 0, what, tensor);
  return got;
}

void Cursor::fail_at_end(std::uint64_t wanted, std::uint64_t found, const char* what, std::string_view tensor) const {
  throw Error(ErrorCode::format, fmt::format("the file ends inside {}", what),
              {.file = source_.name(),
               .tensor = printable(tensor),
               .offset = position(),
               .expected = fmt::format("{} more byte{}", wanted, wanted == 1 ? "" : "s"),
               .found = fmt::to_string(found),
               .hint = "the file is cut short or damaged"});
}

}  // namespace headrace::format::gguf
