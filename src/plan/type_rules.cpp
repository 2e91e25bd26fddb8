// Rules in one line, as stable-diffusion.cpp writes them.
#include "format/printable.hpp"

#include <headrace/error.hpp>
#include <headrace/rules.hpp>
#include <headrace/targets.hpp>

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <utility>

namespace headrace {
namespace {

// Where the character class that begins at `start` ends. A ']' that comes first is one of its characters, and so is
// that of a class such as [:digit:] inside it.
std::size_t end_of_class(std::string_view text, std::size_t start) {
  std::size_t at = start + 1;
  if (at < text.size() && text[at] == '^') ++at;
  if (at < text.size() && text[at] == ']') ++at;
  while (at < text.size() && text[at] != ']') {
    const std::size_t named = text.substr(at).starts_with("[:") ? text.find(":]", at) : text.npos;
    at = named != text.npos ? named + 2 : at + (text[at] == '\\' ? 2 : 1);
  }
  return at;
}

// Bytes up to the comma that ends the first rule, or all.
std::size_t length_of_rule(std::string_view text) {
  std::size_t depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      ++i;
    } else if (c == '[') {
      i = end_of_class(text, i);
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

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

Rule parse_type_rule(std::string_view text) {
  const auto refuse = [&](const std::string& problem, ErrorDetail detail) -> Error {
    return {ErrorCode::invalid_argument, "--tensor-type-rules: " + problem, std::move(detail)};
  };
  const std::size_t equals = text.rfind('=');
  if (equals == text.npos || equals == 0 || equals + 1 == text.size()) {
    throw refuse(fmt::format("'{}' is no rule", format::printable(text)),
                 {.expected = "REGEX=TYPE, such as 'attn.*weight=q8_0'"});
  }
  try {
    return {.pattern = std::string(text.substr(0, equals)),
            .action = {Action::Kind::type, {parse_target_type(text.substr(equals + 1))}}};
  } catch (const Error& error) {
    throw refuse(error.problem(), error.detail());
  }
}

}  // namespace

std::vector<Rule> parse_type_rules(std::string_view text) {
  std::vector<Rule> rules;
  while (!text.empty()) {
    const std::size_t length = length_of_rule(text);
    rules.push_back(parse_type_rule(trimmed(text.substr(0, length))));
    text.remove_prefix(length);
    if (text == ",") break;  // a comma behind the last rule does no harm
    if (!text.empty()) text.remove_prefix(1);
  }
  return rules;
}

}  // namespace headrace
