// Text from a file, made safe to show to a person.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace headrace::format {

/// `text` with everything escaped that could steer a terminal or mislead a reader: control characters, bytes that are
/// not UTF-8, marks that reorder the line. Longer than `max_bytes` it is cut between characters and ends in "…".
std::string printable(std::string_view text, std::size_t max_bytes = 200);

/// The length of the UTF-8 sequence at the start of `text` (not empty), 0 when it is none.
std::size_t utf8_length(std::string_view text) noexcept;

/// Where the first byte is that is not part of valid UTF-8; `text.size()` when all of it is valid.
std::size_t first_invalid_utf8(std::string_view text) noexcept;

}  // namespace headrace::format
