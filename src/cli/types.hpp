// Element types by the names that people type.
#pragma once

#include <headrace/dtype.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace headrace::cli {

/// The name to show for a type: ggml's where it has one ("q4_K", "f16"), else Headrace's own.
std::string_view spelling(DType dtype) noexcept;

/// "f16, bf16, f32, q4_0, …": the types this build can make.
std::string available_types();

/// The names closest to a mistyped one, at most three that are equally close; none when nothing is near.
/// Upper and lower case count as the same.
std::vector<std::string_view> closest(std::string_view typed, const std::vector<std::string_view>& names);

/// " (did you mean q4_K?)", or nothing.
std::string did_you_mean(std::string_view typed, const std::vector<std::string_view>& names);

/// Reads the name of a type to convert to, a value of `option`. Throws UsageError when there is no such type or this
/// build can't make it.
DType parse_target_type(std::string_view typed, std::string_view option);

}  // namespace headrace::cli
