#include "cli/type_rules.hpp"

#include "cli/arguments.hpp"
#include "cli/types.hpp"

#include <fmt/format.h>

#include <cstddef>

namespace headrace::cli {
namespace {

constexpr std::string_view kOption = "--tensor-type-rules";

// Bytes up to the comma that ends the first rule, or all.
std::size_t length_of_rule(std::string_view text) {
  std::size_t depth = 0;
  bool in_class = false;  // inside [], where other brackets are plain characters
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      ++i;
    } else if (in_class) {
      in_class = c != ']';
    } else if (c == '[') {
      in_class = true;
    } else if (c == '(' || c == '{') {
      ++depth;
    } else if ((c == ')' || c == '}') && depth > 0) {
      --depth;
    } else if (c == ',' && depth == 0) {
      return i;
    }
  }
  return text.size();
}

TypeRule parse_rule(std::string_view text) {
  const std::size_t equals = text.rfind('=');
  if (equals == text.npos || equals == 0 || equals + 1 == text.size())
    throw UsageError(
        fmt::format("{}: '{}' is no rule; a rule is REGEX=TYPE, such as 'attn.*weight=q8_0'", kOption, text));
  return {std::string(text.substr(0, equals)), parse_target_type(text.substr(equals + 1), kOption)};
}

}  // namespace

std::vector<TypeRule> parse_type_rules(std::string_view text) {
  std::vector<TypeRule> rules;
  while (!text.empty()) {
    const std::size_t length = length_of_rule(text);
    rules.push_back(parse_rule(text.substr(0, length)));
    text.remove_prefix(length);
    if (text == ",") break;  // a comma behind the last rule does no harm
    if (!text.empty()) text.remove_prefix(1);
  }
  return rules;
}

}  // namespace headrace::cli
