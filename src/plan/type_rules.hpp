// TypeRules: "a tensor whose name matches this gets that type".
#pragma once

#include <headrace/plan.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace headrace::plan {

/// Rules compiled for matching. RE2 takes time linear in the name, whatever the pattern.
/// Not thread-safe: it remembers which rules were of use.
class TypeRules {
 public:
  /// `rules` must outlive it. Throws Error(invalid_argument) for a bad pattern.
  explicit TypeRules(std::span<const TypeRule> rules);
  ~TypeRules();

  /// The index of the first rule that matches the name.
  std::optional<std::size_t> match(std::string_view name);

  /// Throws Error(invalid_argument) naming the first rule that matched none of the names seen.
  void require_all_matched() const;
  /// Rules that matched, but only where an earlier one had.
  std::vector<std::size_t> without_effect() const;

 private:
  struct Compiled;
  std::span<const TypeRule> rules_;
  std::vector<Compiled> compiled_;
};

}  // namespace headrace::plan
