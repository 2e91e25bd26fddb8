// Allowance: how much memory the reading of one header may take.
#pragma once

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

namespace headrace::format {

/// Asked before memory is taken, so that a header which doesn't fit is refused and not half loaded.
class Allowance {
 public:
  /// `bytes` may be held in all; `others` hold some of them already.
  Allowance(std::string file, std::uint64_t bytes, std::uint64_t others = 0)
      : file_(std::move(file)), bytes_(bytes), others_(others) {}

  /// Throws Error(budget) when `bytes`, all that would then be held here, is more than allowed.
  void require(std::uint64_t bytes) const {
    bytes += others_;
    if (bytes <= bytes_) return;
    throw Error(ErrorCode::budget, "the header doesn't fit the memory allowed for it",
                {.file = file_,
                 .expected = "at most " + format_bytes(bytes_),
                 .found = "at least " + format_bytes(bytes),
                 .hint = "raise --memory"});
  }

  /// The size to which a buffer of `capacity` that needs `needed` shall grow while `held` bytes are held, the old
  /// buffer included: twice its size, or half of what is left where that is less, so that a tight allowance doesn't
  /// turn growing into copying at every step. Throws Error(budget) when even `needed` doesn't fit.
  std::uint64_t grown(std::uint64_t held, std::uint64_t capacity, std::uint64_t needed) const {
    require(held + needed);
    const std::uint64_t half_of_rest = needed + (bytes_ - held - needed) / 2;
    return std::max(needed, std::min(2 * capacity, half_of_rest));
  }

 private:
  std::string file_;
  std::uint64_t bytes_, others_;
};

}  // namespace headrace::format
