#include "plan/type_rules.hpp"

#include "plan/plan.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>
#include <re2/re2.h>

#include <utility>

namespace headrace::plan {
namespace {

// Of one compiled pattern. RE2's own default, 8 MiB, would let a dozen odd rules take what the budget doesn't know of.
constexpr std::int64_t kMostMemory = std::int64_t{256} << 10;

std::string text_of(const TypeRule& rule) { return fmt::format("'{}={}'", rule.pattern, name(rule.type)); }

std::unique_ptr<RE2> compile(const TypeRule& rule) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMostMemory);
  auto pattern = std::make_unique<RE2>(rule.pattern, options);
  if (!pattern->ok()) {
    const bool perl = pattern->error_code() == RE2::ErrorBadPerlOp;
    throw Error(
        ErrorCode::invalid_argument, fmt::format("rule {} has a bad pattern: {}", text_of(rule), pattern->error()),
        {.hint = perl ? "patterns are RE2's: there is no look-ahead; put a rule for the exceptions first" : ""});
  }
  return pattern;
}

}  // namespace

struct TypeRules::Compiled {
  std::unique_ptr<RE2> pattern;
  bool matched = false;  // some name
  bool decided = false;  // for some tensor
};

TypeRules::TypeRules(std::span<const TypeRule> rules) : rules_(rules) {
  if (rules.size() >= Plan::Impl::Origin::kNoRule)
    throw Error(ErrorCode::invalid_argument, fmt::format("{} rules are too many", rules.size()));
  for (const TypeRule& rule : rules) compiled_.push_back({compile(rule)});
}

TypeRules::~TypeRules() = default;

std::optional<std::size_t> TypeRules::match(std::string_view name) {
  std::optional<std::size_t> first;
  for (std::size_t i = 0; i < compiled_.size(); ++i) {
    Compiled& rule = compiled_[i];
    if (first && rule.matched) continue;  // only to learn whether it ever matches
    if (!RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), *rule.pattern)) continue;
    rule.matched = true;
    if (first) continue;
    rule.decided = true;
    first = i;
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

std::vector<std::size_t> TypeRules::without_effect() const {
  std::vector<std::size_t> idle;
  for (std::size_t i = 0; i < compiled_.size(); ++i) {
    if (compiled_[i].matched && !compiled_[i].decided) idle.push_back(i);
  }
  return idle;
}

}  // namespace headrace::plan
