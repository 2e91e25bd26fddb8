// Rules: "a tensor whose name matches this becomes that".
#pragma once

#include "plan/patterns.hpp"

#include <headrace/rules.hpp>
#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace headrace::plan {

/// Rules compiled for matching. RE2 takes time linear in the name, whatever the pattern.
/// Not thread-safe: it remembers which rules matched.
class Rules {
 public:
  /// `rules` must outlive it; all of them together take at most `memory` bytes, or 16 MiB if that is less.
  /// Throws Error(invalid_argument) for a bad or too large pattern, and for more than kMostPatterns rules.
  Rules(std::span<const Rule> rules, std::uint64_t memory);

  /// The index of the first rule that matches the tensor: its name, and its shape as it is so far.
  std::optional<std::size_t> match(const TensorInfo& tensor);

  /// Throws Error(invalid_argument) naming the first rule that matched none of the tensors seen.
  void require_all_matched() const;

 private:
  struct Compiled {
    std::unique_ptr<RE2> pattern;  // null: every name
    bool matched = false;          // some tensor
  };
  std::span<const Rule> rules_;
  std::vector<Compiled> compiled_;
};

}  // namespace headrace::plan
