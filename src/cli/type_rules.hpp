// --tensor-type-rules: "regex=type,regex=type", as stable-diffusion.cpp writes it.
#pragma once

#include <headrace/rules.hpp>

#include <string_view>
#include <vector>

namespace headrace::cli {

/// Rules stand between commas, with or without blanks; a comma inside (), [] or {}, or after a backslash, belongs to
/// the pattern. The type follows the last '=' of a rule. Throws UsageError for an empty rule or pattern, a missing or
/// an unknown type.
std::vector<Rule> parse_type_rules(std::string_view text);

}  // namespace headrace::cli
