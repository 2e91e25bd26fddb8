// Element types by the names that people type.
#pragma once

#include <headrace/dtype.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace headrace::cli {

/// "f16, bf16, f32, q4_0, …": the types this build can make.
std::string available_types();

/// " (did you mean q4_K?)", or nothing.
std::string did_you_mean(std::string_view typed, const std::vector<std::string_view>& names);

/// Reads the name of a type to convert to, a value of `option`. Throws UsageError when there is no such type or this
/// build can't make it.
DType parse_type(std::string_view typed, std::string_view option);

}  // namespace headrace::cli
