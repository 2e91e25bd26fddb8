#include "io/http/lookahead.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace headrace::io::http {
namespace {

// Copies the bytes from `offset` on out of `held`, which begins at `begin`.
std::size_t overlap(std::uint64_t begin, std::span<const std::byte> held, std::uint64_t offset,
                    std::span<std::byte> out) {
  if (offset < begin || offset - begin >= held.size()) return 0;
  const auto from = held.subspan(static_cast<std::size_t>(offset - begin));
  const std::size_t n = std::min(from.size(), out.size());
  if (n > 0) std::memcpy(out.data(), from.data(), n);
  return n;
}

}  // namespace

Lookahead::Lookahead(std::vector<std::byte> head, std::uint64_t size)
    : head_(std::move(head)), size_(size), end_(head_.size()), run_(head_.size()) {}

std::size_t Lookahead::take(std::uint64_t offset, std::span<std::byte> out) {
  std::size_t taken = overlap(0, head_, offset, out);
  if (taken == out.size()) return taken;
  const std::lock_guard lock(mutex_);
  const std::size_t more = overlap(window_at_, window_, offset + taken, out.subspan(taken));
  taken += more;
  // Once as much has been taken as it holds, by readers in any order, it has done its duty.
  window_left_ -= std::min(more, window_left_);
  if (window_left_ == 0) std::vector<std::byte>().swap(window_);
  return taken;
}

std::size_t Lookahead::ahead(std::uint64_t offset, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const bool in_order = offset == end_;
  run_ = in_order ? run_ + bytes : bytes;
  const std::uint64_t left = size_ - offset - bytes;
  const std::uint64_t more = in_order ? std::min<std::uint64_t>({run_, kMost, left}) : 0;
  run_ += more;
  end_ = offset + bytes + more;
  return static_cast<std::size_t>(more);
}

void Lookahead::put(std::uint64_t offset, std::vector<std::byte> window) {
  const std::lock_guard lock(mutex_);
  window_at_ = offset;
  window_ = std::move(window);
  window_left_ = window_.size();
}

std::size_t Lookahead::memory() const {
  const std::lock_guard lock(mutex_);
  return head_.capacity() + window_.capacity();
}

}  // namespace headrace::io::http
