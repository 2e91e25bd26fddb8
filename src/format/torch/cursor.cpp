#include "format/torch/cursor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace headrace::format::torch {

void Cursor::fail(std::uint64_t at, std::string problem, std::string expected, std::string found, std::string hint,
                  ErrorCode code) const {
  throw Error(code, std::move(problem),
              {.file = file(),
               .offset = at,
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = std::move(hint)});
}

void Cursor::require(std::uint64_t bytes) const {
  if (bytes <= left()) return;
  fail(position(), "the pickle ends too soon", fmt::format("{} more bytes", bytes), fmt::to_string(left()),
       "the file is cut short or damaged");
}

void Cursor::fill() {
  require(1);
  window_at_ += filled_;
  next_ = 0;
  filled_ = 0;  // should the read fail
  const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(kWindow, end_ - window_at_));
  source_.read_at(window_at_, std::span(window_.get(), bytes));
  filled_ = bytes;
}

void Cursor::read(std::span<std::byte> out) {
  require(out.size());
  while (!out.empty()) {
    if (next_ == filled_) fill();
    const std::size_t part = std::min(out.size(), filled_ - next_);
    std::memcpy(out.data(), window_.get() + next_, part);
    next_ += part;
    out = out.subspan(part);
  }
}

void Cursor::skip(std::uint64_t bytes) {
  require(bytes);
  if (bytes <= filled_ - next_) {
    next_ += static_cast<std::size_t>(bytes);
    return;
  }
  window_at_ = position() + bytes;
  next_ = filled_ = 0;
}

std::string_view Cursor::line() {
  const std::uint64_t begin = position();
  line_.clear();
  for (char c; (c = static_cast<char>(u8())) != '\n';) {
    if (line_.size() == kMostLine) fail(begin, "a line of the pickle is too long");
    line_ += c;
  }
  return line_;
}

}  // namespace headrace::format::torch
