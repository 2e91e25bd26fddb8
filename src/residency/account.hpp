// Account: how many bytes of one memory are promised. Bytes are promised before they are allocated and given back after
// they were freed, so that what is there never exceeds what is promised.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

namespace headrace::residency {

/// Thread-safety: none; whoever holds the manager's lock.
class Account {
 public:
  explicit Account(std::optional<std::uint64_t> limit) noexcept
      : limit_(limit.value_or(std::numeric_limits<std::uint64_t>::max())) {}

  std::uint64_t limit() const noexcept { return limit_; }
  std::uint64_t used() const noexcept { return used_; }
  std::uint64_t peak() const noexcept { return peak_; }
  std::uint64_t room() const noexcept { return limit_ - std::min(limit_, used_); }

  /// Whoever promises has looked at room(), or may go beyond the limit.
  void promise(std::uint64_t bytes) noexcept {
    used_ += bytes;
    peak_ = std::max(peak_, used_);
  }
  void give_back(std::uint64_t bytes) noexcept { used_ -= bytes; }

 private:
  const std::uint64_t limit_;
  std::uint64_t used_ = 0, peak_ = 0;
};

}  // namespace headrace::residency
