#include "io/forward_source.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <array>
#include <cstring>

namespace headrace::io {

void ForwardSource::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  const std::lock_guard lock(mutex_);
  while (!out.empty()) {
    const std::size_t got = take(offset, out);
    if (got == 0) {
      throw Error(ErrorCode::io, "the stream ends too soon",
                  {.file = name_,
                   .offset = offset,
                   .expected = std::to_string(out.size()) + " more bytes",
                   .found = "the end",
                   .hint = "was it cut short?"});
    }
    offset += got;
    out = out.subspan(got);
  }
}

std::size_t ForwardSource::read_some_at(std::uint64_t offset, std::span<std::byte> out) const {
  const std::lock_guard lock(mutex_);
  return out.empty() ? 0 : take(offset, out);
}

// Some of the bytes from `offset` on: kept ones, or the next.
std::size_t ForwardSource::take(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > position_) pass_over(offset);
  if (offset < position_) {
    const std::uint64_t back = position_ - offset;
    if (back > kept_.size()) {
      throw Error(ErrorCode::unsupported, "these bytes of the stream have passed already",
                  {.file = name_, .offset = offset, .hint = "save it to a file first, and give that"});
    }
    const std::size_t n = std::min<std::size_t>(out.size(), back);
    std::memcpy(out.data(), kept_.data() + kept_.size() - back, n);
    return n;
  }
  const std::size_t got = receive(out);
  position_ += got;
  if (out.size() > keeps_ / 2) {
    kept_.clear();  // a tensor's bytes, which nobody reads twice
  } else {
    keep(out.first(got));
  }
  return got;
}

void ForwardSource::pass_over(std::uint64_t offset) const {
  std::array<std::byte, std::size_t{16} << 10> waste;
  while (position_ < offset) {
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(waste.size(), offset - position_));
    const std::size_t got = receive(std::span(waste).first(want));
    if (got == 0) return;  // whoever wants the bytes after the end will hear of it
    position_ += got;
  }
  kept_.clear();
}

void ForwardSource::keep(std::span<const std::byte> bytes) const {
  kept_.reserve(2 * kKept);
  if (kept_.size() + bytes.size() > 2 * kKept) {
    std::memmove(kept_.data(), kept_.data() + kept_.size() - kKept, kKept);
    kept_.resize(kKept);
  }
  const std::size_t at = kept_.size();
  kept_.resize(at + bytes.size());
  std::memcpy(kept_.data() + at, bytes.data(), bytes.size());
}

}  // namespace headrace::io
