// --override-kv as people write it.
#include "format/printable.hpp"

#include <headrace/error.hpp>
#include <headrace/plan.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

namespace headrace {
namespace {

template <typename Number>
std::optional<Number> number_in(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

}  // namespace

// llama.cpp makes unsigned numbers of 32 bits of its "int", the sign taken off.
MetadataOverride parse_metadata_override(std::string_view text) {
  const auto refuse = [&]() -> Error {
    return {ErrorCode::invalid_argument,
            fmt::format("'{}' sets no metadata", format::printable(text)),
            {.expected = "KEY=int:3, KEY=float:0.5, KEY=bool:true or KEY=str:text"}};
  };
  const std::size_t equals = text.find('='), colon = text.find(':', equals == text.npos ? 0 : equals);
  if (equals == text.npos || equals == 0 || colon == text.npos) throw refuse();
  const std::string_view type = text.substr(equals + 1, colon - equals - 1);
  MetadataOverride pair{std::string(text.substr(0, equals)), ValueType::string, std::string(text.substr(colon + 1))};
  if (type == "str") return pair;
  if (type == "int") {
    const auto number = number_in<std::int64_t>(pair.value);
    if (!number || std::abs(*number) > std::numeric_limits<std::uint32_t>::max()) throw refuse();
    pair.type = ValueType::u32;
    pair.value = fmt::to_string(std::abs(*number));
  } else if (type == "float") {
    const auto number = number_in<double>(pair.value);
    if (!number || !std::isfinite(*number) || std::abs(*number) > std::numeric_limits<float>::max()) throw refuse();
    pair.type = ValueType::f32;
  } else if (type == "bool" && (pair.value == "true" || pair.value == "false")) {
    pair.type = ValueType::boolean;
  } else {
    throw refuse();
  }
  return pair;
}

}  // namespace headrace
