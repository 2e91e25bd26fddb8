#include "format/value_walk.hpp"

namespace headrace::format {
namespace {

std::optional<std::size_t> string_length(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < 8) return std::nullopt;
  const auto length = load_little<std::uint64_t>(bytes.data());
  if (length > bytes.size() - 8) return std::nullopt;
  return 8 + static_cast<std::size_t>(length);
}

std::optional<std::size_t> array_length(std::span<const std::byte> bytes, int depth) noexcept {
  if (bytes.size() < 12 || depth >= kMaxArrayDepth) return std::nullopt;
  const auto number = load_little<std::uint32_t>(bytes.data());
  const auto count = load_little<std::uint64_t>(bytes.data() + 4);
  if (!is_value_type(number)) return std::nullopt;
  const auto type = static_cast<ValueType>(number);
  std::size_t at = 12;
  if (const std::size_t size = size_of(type); size != 0) {
    if (count > (bytes.size() - at) / size) return std::nullopt;
    return at + static_cast<std::size_t>(count) * size;
  }
  for (std::uint64_t i = 0; i < count; ++i) {  // each round takes 8 bytes or more, so `count` can't spin it for long
    const std::optional<std::size_t> length = value_length(type, bytes.subspan(at), depth + 1);
    if (!length) return std::nullopt;
    at += *length;
  }
  return at;
}

}  // namespace

std::optional<std::size_t> value_length(ValueType type, std::span<const std::byte> bytes, int depth) noexcept {
  if (!is_value_type(static_cast<std::uint32_t>(type))) return std::nullopt;
  if (type == ValueType::string) return string_length(bytes);
  if (type == ValueType::array) return array_length(bytes, depth);
  const std::size_t size = size_of(type);
  if (bytes.size() < size) return std::nullopt;
  return size;
}

}  // namespace headrace::format
