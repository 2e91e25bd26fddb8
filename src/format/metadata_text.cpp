// MetadataValue::to_string: values as people read them.
#include "format/printable.hpp"
#include "format/value_walk.hpp"

#include <headrace/metadata.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace headrace {
namespace {

using format::load_little;

constexpr std::size_t kShownText = 80;  // bytes of a string
constexpr std::string_view kMalformed = "(malformed)";

std::string number_text(ValueType type, const std::byte* at) {
  switch (type) {
    case ValueType::u8: return fmt::to_string(unsigned{load_little<std::uint8_t>(at)});
    case ValueType::i8: return fmt::to_string(int{load_little<std::int8_t>(at)});
    case ValueType::u16: return fmt::to_string(load_little<std::uint16_t>(at));
    case ValueType::i16: return fmt::to_string(load_little<std::int16_t>(at));
    case ValueType::u32: return fmt::to_string(load_little<std::uint32_t>(at));
    case ValueType::i32: return fmt::to_string(load_little<std::int32_t>(at));
    case ValueType::f32: return fmt::format("{}", load_little<float>(at));
    case ValueType::boolean: return *at != std::byte{0} ? "true" : "false";
    case ValueType::u64: return fmt::to_string(load_little<std::uint64_t>(at));
    case ValueType::i64: return fmt::to_string(load_little<std::int64_t>(at));
    case ValueType::f64: return fmt::format("{}", load_little<double>(at));
    default: return std::string(kMalformed);
  }
}

std::string string_text(std::string_view text) {
  const std::string shown = format::printable(text, kShownText);
  std::string quoted = "\"";
  for (const char c : shown) {  // a quote inside must not look like the end
    if (c == '"') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string array_text(const MetadataValue& array, std::size_t max_elements, int depth) {
  const std::span<const std::byte> bytes = array.bytes();
  const ValueType type = array.element_type();
  const std::uint64_t count = array.element_count();
  const std::uint64_t shown = std::min<std::uint64_t>(count, max_elements);
  std::string text = "[";
  std::size_t at = 12;
  for (std::uint64_t i = 0; i < shown; ++i) {
    const auto rest = bytes.subspan(at);
    const std::optional<std::size_t> length = format::value_length(type, rest, depth + 1);
    if (!length) return text + std::string(kMalformed) + "]";
    const MetadataValue element(type, rest.first(*length));
    if (i > 0) text += ", ";
    text += type == ValueType::array ? array_text(element, max_elements, depth + 1) : element.to_string(max_elements);
    at += *length;
  }
  if (shown < count) fmt::format_to(std::back_inserter(text), "{}… {} of {}", shown > 0 ? ", " : "", count, name(type));
  return text + "]";
}

}  // namespace

std::string MetadataValue::to_string(std::size_t max_elements) const {
  if (type_ == ValueType::string) {
    const std::optional<std::string_view> text = as_string();
    return text ? string_text(*text) : std::string(kMalformed);
  }
  if (type_ == ValueType::array) {
    return bytes_.size() < 12 ? std::string(kMalformed) : array_text(*this, max_elements, 0);
  }
  const std::size_t size = size_of(type_);
  return size == 0 || bytes_.size() != size ? std::string(kMalformed) : number_text(type_, bytes_.data());
}

}  // namespace headrace
