#include "plan/type_rules.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <string>
#include <utility>

namespace headrace::plan {
namespace {

// RE2's own default, 8 MiB a pattern, would let a few odd rules take what the budget doesn't know of.
constexpr std::uint64_t kMostMemory = std::uint64_t{16} << 20;

std::string text_of(const TypeRule& rule) {
  return fmt::format("'{}={}'", format::printable(rule.pattern), name(rule.type));
}

std::string hint_for(RE2::ErrorCode code) {
  switch (code) {
    case RE2::ErrorBadPerlOp: return "patterns are RE2's: there is no look-ahead; put a rule for the exceptions first";
    case RE2::ErrorPatternTooLarge: return "with fewer rules or more --memory there is more room for each";
    default: return "";
  }
}

std::unique_ptr<RE2> compile(const TypeRule& rule, std::uint64_t memory) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(static_cast<std::int64_t>(memory));
  auto pattern = std::make_unique<RE2>(rule.pattern, options);
  if (!pattern->ok()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("rule {} has a bad pattern: {}", text_of(rule), format::printable(pattern->error())),
                {.hint = hint_for(pattern->error_code())});
  }
  return pattern;
}

// RE2 stops at a byte that is no UTF-8, so that even '.' doesn't match it.
std::string as_utf8(std::string_view name) {
  std::string text;
  while (!name.empty()) {
    const std::size_t valid = format::first_invalid_utf8(name);
    text += name.substr(0, valid);
    name.remove_prefix(valid);
    if (name.empty()) break;
    text += "\uFFFD";
    name.remove_prefix(1);
  }
  return text;
}

}  // namespace

struct TypeRules::Compiled {
  std::unique_ptr<RE2> pattern;
  bool matched = false;  // some name
};

TypeRules::TypeRules(std::span<const TypeRule> rules, std::uint64_t memory) : rules_(rules) {
  if (rules.size() > kMost) {
    throw Error(ErrorCode::invalid_argument, "there are too many rules",
                {.expected = fmt::format("at most {}", kMost), .found = fmt::to_string(rules.size())});
  }
  const std::uint64_t each = std::min(memory, kMostMemory) / std::max<std::size_t>(rules.size(), 1);
  for (const TypeRule& rule : rules) compiled_.push_back({compile(rule, each)});
}

TypeRules::~TypeRules() = default;

std::optional<std::size_t> TypeRules::match(std::string_view name) {
  std::string copy;
  if (!compiled_.empty() && format::first_invalid_utf8(name) != name.size()) name = copy = as_utf8(name);
  std::optional<std::size_t> first;
  for (std::size_t i = 0; i < compiled_.size(); ++i) {
    Compiled& rule = compiled_[i];
    if (first && rule.matched) continue;  // only to learn whether it ever matches
    if (!RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), *rule.pattern)) continue;
    rule.matched = true;
    if (!first) first = i;
  }
  return first;
}

void TypeRules::require_all_matched() const {
  for (std::size_t i = 0; i < compiled_.size(); ++i) {
    if (compiled_[i].matched) continue;
    throw Error(ErrorCode::invalid_argument, fmt::format("rule {} matches no tensor", text_of(rules_[i])),
                {.hint = "'headrace inspect FILE --tensors' lists the names; a prefix counts too"});
  }
}

}  // namespace headrace::plan
