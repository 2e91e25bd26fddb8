// Targets: the types that tensors can be converted to, by the names that people type.
// Thread-safety: pure functions over constant data.
#pragma once

#include <headrace/dtype.hpp>

#include <span>
#include <string_view>
#include <vector>

namespace headrace {

/// The name to show for a type: ggml's where it has one ("q4_K", "f16"), else Headrace's own.
std::string_view spelling(DType dtype) noexcept;

/// "f16", "bf16", "f32", "q4_0", …: the types this build can make, as they are spelt.
std::vector<std::string_view> target_types();

/// The names closest to a mistyped one, at most three that are equally close; none when nothing is near.
/// Upper and lower case count as the same.
std::vector<std::string_view> closest(std::string_view typed, std::span<const std::string_view> names);

/// Reads the name of a type to convert to: any that parse_dtype knows. Throws Error(invalid_argument) when there is no
/// such type, naming those that are near, and when this build can't make it.
DType parse_target_type(std::string_view typed);

}  // namespace headrace
