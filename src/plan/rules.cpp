#include "plan/rules.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace headrace::plan {
namespace {

// "line 3: rule 'a=f16'"
std::string text_of(const Rule& rule) {
  const std::string line = rule.line > 0 ? fmt::format("line {}: ", rule.line) : "";
  return fmt::format("{}rule '{}'", line, format::printable(to_string(rule)));
}

std::unique_ptr<RE2> compiled(const Rule& rule, std::uint64_t memory) try {
  return rule.pattern.empty() ? nullptr : compile(rule.pattern, memory, text_of(rule));
} catch (const Error& error) {
  ErrorDetail detail = error.detail();
  detail.file = rule.file;
  throw Error(error.code(), error.problem(), std::move(detail));
}

bool holds(const Condition& condition, const TensorInfo& tensor) {
  switch (condition.of) {
    case Condition::Of::ndim: return condition.holds(tensor.shape.size());
    case Condition::Of::elements: return condition.holds(tensor.elements);
    case Condition::Of::row: return condition.holds(tensor.row_elements());
    case Condition::Of::rows: {
      const std::uint64_t row = tensor.row_elements();
      return condition.holds(row == 0 ? 0 : tensor.elements / row);
    }
  }
  return false;
}

}  // namespace

Rules::Rules(std::span<const Rule> rules, std::uint64_t memory) : rules_(rules) {
  const std::uint64_t each = memory_each(rules.size(), memory, "rules");
  for (const Rule& rule : rules) compiled_.push_back({compiled(rule, each)});
}

std::optional<std::size_t> Rules::match(const TensorInfo& tensor) {
  if (compiled_.empty()) return std::nullopt;
  std::string copy;
  const std::string_view name = searchable(tensor.name, copy);
  std::optional<std::size_t> first;
  for (std::size_t i = 0; i < compiled_.size(); ++i) {
    Compiled& rule = compiled_[i];
    if (first && rule.matched) continue;  // only to learn whether it ever matches
    if (!std::ranges::all_of(rules_[i].conditions, [&](const Condition& c) { return holds(c, tensor); })) continue;
    if (rule.pattern && !matches(*rule.pattern, name)) continue;
    rule.matched = true;
    if (!first) first = i;
  }
  return first;
}

void Rules::require_all_matched() const {
  for (std::size_t i = 0; i < compiled_.size(); ++i) {
    if (compiled_[i].matched) continue;
    throw Error(
        ErrorCode::invalid_argument, text_of(rules_[i]) + " matches no tensor",
        {.file = rules_[i].file, .hint = "'headrace inspect FILE --tensors' lists the names; a prefix counts too"});
  }
}

}  // namespace headrace::plan
