// How many bytes a metadata value takes, found out without trusting any number in it.
#pragma once

#include <headrace/metadata.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace headrace::format {

/// Arrays of arrays of arrays of arrays are as deep as anyone goes; deeper ones are an attack on the stack.
inline constexpr int kMaxArrayDepth = 4;

inline constexpr bool is_value_type(std::uint32_t number) {
  return number <= static_cast<std::uint32_t>(ValueType::f64);
}

/// A number in the file's byte order, from any address.
template <class T>
T load_little(const std::byte* at) noexcept {
  T number;
  std::memcpy(&number, at, sizeof number);  // every supported machine is little-endian
  return number;
}

/// The length of the one value of that type that `bytes` starts with; nothing when it is malformed or cut short.
/// `depth` is how many arrays it lies in.
std::optional<std::size_t> value_length(ValueType type, std::span<const std::byte> bytes, int depth = 0) noexcept;

}  // namespace headrace::format
