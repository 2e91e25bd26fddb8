// Rules as people write them.
#include "codec/codec.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>
#include <headrace/recipe.hpp>
#include <headrace/rules.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

namespace headrace {
namespace {

using Of = Condition::Of;
using Is = Condition::Is;
using Kind = Action::Kind;

// The longer ones first, where one begins like another.
constexpr std::array<std::pair<std::string_view, Of>, 4> kOf = {
    {{"ndim", Of::ndim}, {"elements", Of::elements}, {"rows", Of::rows}, {"row", Of::row}}};
// The longer ones first.
constexpr std::array<std::pair<std::string_view, Is>, 7> kIs = {{{"<=", Is::at_most},
                                                                 {">=", Is::at_least},
                                                                 {"==", Is::equal},
                                                                 {"!=", Is::unequal},
                                                                 {"<", Is::below},
                                                                 {">", Is::above},
                                                                 {"=", Is::equal}}};
constexpr std::string_view kBlanks = " \t\r";
constexpr std::string_view kForm = "PATTERN=ACTION, such as 'attn.*weight=q8_0', 'ndim<2=f32' or 'ffn=rmse:0.01'";
constexpr std::string_view kActions = "a type, keep, drop, fallback:TYPE,… or rmse:LIMIT[,TYPE…]";

[[noreturn]] void refuse(std::string_view rule, std::string problem, std::string_view expected) {
  throw Error(ErrorCode::invalid_argument, fmt::format("rule '{}': {}", format::printable(rule), std::move(problem)),
              {.expected = std::string(expected)});
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

template <typename Number>
std::optional<Number> number_in(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

std::optional<Condition> condition_in(std::string_view word) {
  for (const auto& [of_name, of] : kOf) {
    if (!word.starts_with(of_name)) continue;
    for (const auto& [is_name, is] : kIs) {
      if (!word.substr(of_name.size()).starts_with(is_name)) continue;
      const auto number = number_in<std::uint64_t>(word.substr(of_name.size() + is_name.size()));
      if (number) return Condition{of, is, *number};
      break;
    }
  }
  return std::nullopt;
}

std::string type_names() {
  std::vector<std::string_view> names;
  for (const DTypeInfo& type : all_dtypes()) {
    if (codec::can_encode(type.dtype) && !type.internal)
      names.push_back(type.ggml_name.empty() ? type.name : type.ggml_name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

DType type_in(std::string_view rule, std::string_view word) {
  const auto type = parse_dtype(word);
  if (!type) refuse(rule, fmt::format("unknown type '{}'", format::printable(word)), "one of " + type_names());
  return *type;
}

std::vector<DType> types_in(std::string_view rule, std::string_view list) {
  std::vector<DType> types;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    types.push_back(type_in(rule, trimmed(list.substr(0, comma))));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return types;
}

Action rmse_in(std::string_view rule, std::string_view text) {
  const std::size_t comma = std::min(text.find(','), text.size());
  const auto limit = number_in<double>(trimmed(text.substr(0, comma)));
  if (!limit || !std::isfinite(*limit) || *limit < 0)
    refuse(rule, fmt::format("'{}' is no limit", format::printable(text.substr(0, comma))), "a number such as 0.01");
  return {Kind::rmse, types_in(rule, text.substr(std::min(comma + 1, text.size()))), *limit};
}

Action action_in(std::string_view rule, std::string_view text) {
  constexpr std::string_view kFallback = "fallback:", kRmse = "rmse:";
  if (text == "keep") return {Kind::keep};
  if (text == "drop") return {Kind::drop};
  if (text.starts_with(kRmse)) return rmse_in(rule, text.substr(kRmse.size()));
  if (text.starts_with(kFallback)) {
    Action action{Kind::fallback, types_in(rule, text.substr(kFallback.size()))};
    if (action.types.empty()) refuse(rule, "names no type to fall back to", "fallback:q5_0,q8_0,f16");
    return action;
  }
  if (text.empty()) refuse(rule, "says nothing to do", kActions);
  if (!parse_dtype(text) && parse_recipe(text)) {
    refuse(rule, fmt::format("{} is a recipe of several types", name(*parse_recipe(text))),
           "a type, such as q4_K; --recipe chooses types for a whole model");
  }
  if (!parse_dtype(text)) {
    refuse(rule, fmt::format("unknown type or action '{}'", format::printable(text)),
           fmt::format("{}; types: {}", kActions, type_names()));
  }
  return {Kind::type, {type_in(rule, text)}};
}

// Words behind a pattern that read like conditions. The pattern may have blanks too.
std::vector<Condition> take_conditions(std::string_view& left) {
  std::vector<Condition> conditions;
  for (;;) {
    left = trimmed(left);
    const std::size_t blank = left.find_last_of(kBlanks);
    const auto condition = condition_in(blank == left.npos ? left : left.substr(blank + 1));
    if (!condition) return conditions;
    conditions.insert(conditions.begin(), *condition);
    left = blank == left.npos ? "" : left.substr(0, blank);
  }
}

std::string_view name_of(Of of) {
  for (const auto& [name, value] : kOf) {
    if (value == of) return name;
  }
  return "";
}

std::string_view name_of(Is is) {
  for (const auto& [name, value] : kIs) {
    if (value == is) return name;
  }
  return "";
}

std::string text_of(const std::vector<DType>& types) {
  std::vector<std::string_view> names;
  for (const DType type : types) names.push_back(name(type));
  return fmt::format("{}", fmt::join(names, ","));
}

std::string text_of(const Action& action) {
  switch (action.kind) {
    case Kind::type: return text_of(action.types);
    case Kind::keep: return "keep";
    case Kind::drop: return "drop";
    case Kind::fallback: return "fallback:" + text_of(action.types);
    case Kind::rmse:
      return fmt::format("rmse:{}{}{}", action.limit, action.types.empty() ? "" : ",", text_of(action.types));
  }
  return {};
}

}  // namespace

bool Condition::holds(std::uint64_t value) const noexcept {
  switch (is) {
    case Is::below: return value < number;
    case Is::at_most: return value <= number;
    case Is::above: return value > number;
    case Is::at_least: return value >= number;
    case Is::equal: return value == number;
    case Is::unequal: return value != number;
  }
  return false;
}

std::vector<DType> default_ladder(std::uint64_t row) {
  using enum DType;
  if (row % info(Q4_K).block_elements == 0) return {Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, F8_E4M3, Q8_0, F16};
  return {Q4_0, Q5_0, F8_E4M3, Q8_0, F16};
}

Rule parse_rule(std::string_view text) {
  const std::size_t equals = text.rfind('=');
  if (equals == text.npos) refuse(text, "has no action", kForm);
  std::string_view left = text.substr(0, equals);
  Rule rule;
  rule.action = action_in(text, trimmed(text.substr(equals + 1)));
  rule.conditions = take_conditions(left);
  rule.pattern = left;
  if (rule.pattern.empty() && rule.conditions.empty()) refuse(text, "has no pattern and no condition", kForm);
  return rule;
}

std::vector<Rule> parse_rules(std::string_view text, std::string_view file) {
  std::vector<Rule> rules;
  std::size_t line_number = 0;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte-order mark
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    try {
      rules.push_back(parse_rule(line));
      rules.back().file = file;
      rules.back().line = line_number;
    } catch (const Error& error) {
      ErrorDetail detail = error.detail();
      detail.file = file;
      throw Error(error.code(), fmt::format("line {}: {}", line_number, error.problem()), std::move(detail));
    }
  }
  return rules;
}

std::string to_string(const Rule& rule) {
  std::string text = rule.pattern;
  for (const Condition& condition : rule.conditions) {
    if (!text.empty()) text += ' ';
    text += fmt::format("{}{}{}", name_of(condition.of), name_of(condition.is), condition.number);
  }
  return text + "=" + text_of(rule.action);
}

}  // namespace headrace
