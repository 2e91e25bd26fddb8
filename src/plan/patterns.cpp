#include "plan/patterns.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace headrace::plan {
namespace {

constexpr std::uint64_t kMostMemory = std::uint64_t{16} << 20;

std::string hint_for(RE2::ErrorCode code) {
  switch (code) {
    case RE2::ErrorBadPerlOp: return "patterns are RE2's: there is no look-ahead; put a rule for the exceptions first";
    case RE2::ErrorPatternTooLarge: return "with fewer rules or more --memory there is more room for each";
    default: return "";
  }
}

}  // namespace

std::uint64_t memory_each(std::size_t patterns, std::uint64_t memory, std::string_view noun) {
  if (patterns > kMostPatterns) {
    throw Error(ErrorCode::invalid_argument, fmt::format("there are too many {}", noun),
                {.expected = fmt::format("at most {}", kMostPatterns), .found = fmt::to_string(patterns)});
  }
  return std::min(memory, kMostMemory) / std::max<std::size_t>(patterns, 1);
}

std::unique_ptr<RE2> compile(const std::string& pattern, std::uint64_t memory, const std::string& what) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(static_cast<std::int64_t>(memory));
  auto compiled = std::make_unique<RE2>(pattern, options);
  if (!compiled->ok()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} has a bad pattern: {}", what, format::printable(compiled->error())),
                {.hint = hint_for(compiled->error_code())});
  }
  return compiled;
}

std::string_view searchable(std::string_view name, std::string& copy) {
  if (format::first_invalid_utf8(name) == name.size()) return name;
  copy.clear();
  while (!name.empty()) {
    const std::size_t valid = format::first_invalid_utf8(name);
    copy += name.substr(0, valid);
    name.remove_prefix(valid);
    if (name.empty()) break;
    copy += "\uFFFD";
    name.remove_prefix(1);
  }
  return copy;
}

bool matches(const RE2& pattern, std::string_view name) {
  return RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), pattern);
}

}  // namespace headrace::plan
