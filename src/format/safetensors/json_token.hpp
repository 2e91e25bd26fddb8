// The parts of JSON that a lenient parser lets pass: strings and plain numbers, checked character by character.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace headrace::format::safetensors {

/// A string's text, decoded where it stands.
struct JsonText {
  std::string_view text;    ///< lies in the buffer that was decoded
  std::size_t bad = kNone;  ///< where an invalid escape stands, from the start of the string
  static constexpr std::size_t kNone = SIZE_MAX;

  bool valid() const noexcept { return bad == kNone; }
};

/// Decodes the string whose first character (after the quote) is at `begin`. Its closing quote must be in the buffer.
/// Escapes are replaced in place, so this must be called once a string. Lone surrogates are invalid.
JsonText decode_string(char* begin) noexcept;

/// As decode_string for a string that nobody wants: checks its escapes, changes nothing.
bool valid_string(const char* begin) noexcept;

/// A non-negative integer written plainly: digits without sign, fraction, exponent or leading zero.
std::optional<std::uint64_t> plain_integer(std::string_view token) noexcept;

/// True for a number, true, false or null as JSON has them.
bool valid_scalar(std::string_view token) noexcept;

}  // namespace headrace::format::safetensors
