// Patterns: RE2, with the project's limits, errors and care for odd names.
#pragma once

#include <re2/re2.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace headrace::plan {

/// More in one list are refused.
inline constexpr std::size_t kMostPatterns = 500;

/// Bytes that each of `patterns` may take where all have `memory`: RE2's own default, 8 MiB a pattern, would let a few
/// odd ones take what the budget doesn't know of. Throws Error(invalid_argument) for more than kMostPatterns.
std::uint64_t memory_each(std::size_t patterns, std::uint64_t memory, std::string_view noun);

/// Throws Error(invalid_argument): "`what` has a bad pattern: …".
std::unique_ptr<RE2> compile(const std::string& pattern, std::uint64_t memory, const std::string& what);

/// A name as RE2 takes it: it stops at a byte that is no UTF-8, so that even '.' doesn't match it. Such bytes count as
/// U+FFFD. A view of `name` where it has none, else of `copy`.
std::string_view searchable(std::string_view name, std::string& copy);

/// True where the pattern matches a part of the name, which must be searchable.
bool matches(const RE2& pattern, std::string_view name);

}  // namespace headrace::plan
