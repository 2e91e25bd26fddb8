// TypeRules: "a tensor whose name matches this gets that type".
#pragma once

#include <headrace/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace headrace::plan {

/// Rules compiled for matching. RE2 takes time linear in the name, whatever the pattern.
/// Not thread-safe: it remembers which rules matched.
class TypeRules {
 public:
  static constexpr std::size_t kMost = 500;

  /// `rules` must outlive it; all of them together take at most `memory` bytes, or 16 MiB if that is less.
  /// Throws Error(invalid_argument) for a bad or too large pattern, and for more than kMost rules.
  TypeRules(std::span<const TypeRule> rules, std::uint64_t memory);
  ~TypeRules();

  /// The index of the first rule that matches the name. Bytes of it that are no UTF-8 match as U+FFFD.
  std::optional<std::size_t> match(std::string_view name);

  /// Throws Error(invalid_argument) naming the first rule that matched none of the names seen.
  void require_all_matched() const;

 private:
  struct Compiled;
  std::span<const TypeRule> rules_;
  std::vector<Compiled> compiled_;
};

}  // namespace headrace::plan
