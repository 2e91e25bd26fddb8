#include "plan/metadata_override.hpp"

#include "format/printable.hpp"
#include "plan/shapes.hpp"

#include <headrace/error.hpp>
#include <headrace/plan.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace headrace {
namespace {

template <typename Number>
std::optional<Number> number_in(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

// The bytes of a value, or nothing where it isn't of its type.
std::optional<std::vector<std::byte>> bytes_of_value(const MetadataOverride& pair) {
  std::vector<std::byte> bytes;
  const auto put = [&](auto number) {
    const auto some = std::as_bytes(std::span(&number, 1));
    bytes.assign(some.begin(), some.end());
  };
  switch (pair.type) {
    case ValueType::u32: {
      const auto number = number_in<std::uint32_t>(pair.value);
      if (!number) return std::nullopt;
      put(*number);
      return bytes;
    }
    case ValueType::f32: {
      const auto number = number_in<double>(pair.value);
      if (!number || !std::isfinite(*number) || std::abs(*number) > std::numeric_limits<float>::max())
        return std::nullopt;
      put(static_cast<float>(*number));
      return bytes;
    }
    case ValueType::boolean: {
      if (pair.value != "true" && pair.value != "false") return std::nullopt;
      put(static_cast<std::uint8_t>(pair.value == "true"));
      return bytes;
    }
    default: return std::nullopt;
  }
}

// Keys whose values say how the file is written: a wrong one makes a file that can't be read.
bool is_ours(const MetadataOverride& pair) {
  if (pair.key.starts_with("split.") || plan::records_shapes(pair.key)) return true;
  if (pair.key == "general.architecture") return pair.type != ValueType::string;
  const bool number = pair.key == "general.file_type" || pair.key == "general.quantization_version";
  return (number || pair.key == "general.alignment") && pair.type != ValueType::u32;
}

}  // namespace

namespace plan {

void set_override(const MetadataOverride& pair, Format to, Metadata& metadata) {
  const auto refuse = [&](ErrorCode code, std::string_view problem, std::string hint) -> Error {
    return {code, fmt::format("metadata '{}': {}", format::printable(pair.key), problem), {.hint = std::move(hint)}};
  };
  if (pair.key.empty()) throw refuse(ErrorCode::invalid_argument, "the key is empty", "");
  if (to == Format::safetensors && pair.type != ValueType::string)
    throw refuse(ErrorCode::unsupported, "safetensors holds text only", "KEY=str:TEXT sets a text");
  if (to == Format::gguf && is_ours(pair))
    throw refuse(ErrorCode::invalid_argument, "the file's own business", "it is set as the file is written");
  if (pair.type == ValueType::string) return metadata.set_string(pair.key, pair.value);
  const auto bytes = bytes_of_value(pair);
  if (!bytes) throw refuse(ErrorCode::invalid_argument, fmt::format("'{}' is no such value", pair.value), "");
  metadata.set(pair.key, pair.type, *bytes);
}

}  // namespace plan

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
  std::string_view value = text.substr(colon + 1);
  MetadataOverride pair{std::string(text.substr(0, equals)), ValueType::string, std::string(value)};
  if (type == "str") return pair;
  if (type == "int" && value.starts_with('-') && value != "-") value.remove_prefix(1);
  pair.type = type == "int" ? ValueType::u32 : type == "float" ? ValueType::f32 : ValueType::boolean;
  pair.value = value;
  if ((type != "int" && type != "float" && type != "bool") || !bytes_of_value(pair)) throw refuse();
  return pair;
}

}  // namespace headrace
