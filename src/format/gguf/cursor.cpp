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
  read(std::as_writable_bytes(std::span(&number, 1)), what, tensor);
  return number;
}

std::uint64_t Cursor::u64(const char* what, std::string_view tensor) {
  std::uint64_t number = 0;
  read(std::as_writable_bytes(std::span(&number, 1)), what, tensor);
  return number;
}

void Cursor::require(std::uint64_t bytes, const char* what, std::string_view tensor) const {
  if (bytes <= left()) return;
  throw Error(ErrorCode::format, fmt::format("the file ends inside {}", what),
              {.file = source_.name(),
               .tensor = printable(tensor),
               .offset = position(),
               .expected = fmt::format("{} more bytes", bytes),
               .found = fmt::to_string(left()),
               .hint = "the file is cut short or damaged"});
}

void Cursor::read(std::span<std::byte> out, const char* what, std::string_view tensor) {
  require(out.size(), what, tensor);
  while (!out.empty()) {
    if (next_ == filled_) {
      if (out.size() >= kWindow) {  // a long run goes straight to its place
        source_.read_at(position(), out);
        window_at_ = position() + out.size();
        next_ = filled_ = 0;
        return;
      }
      fill();
    }
    const std::size_t part = std::min(out.size(), filled_ - next_);
    std::memcpy(out.data(), window_.get() + next_, part);
    next_ += part;
    out = out.subspan(part);
  }
}

void Cursor::fill() {
  window_at_ += filled_;
  next_ = 0;
  filled_ = static_cast<std::size_t>(std::min<std::uint64_t>(kWindow, size_ - window_at_));
  source_.read_at(window_at_, std::span(window_.get(), filled_));
}

}  // namespace headrace::format::gguf
