// Text for people: names from files made safe to print, numbers and durations made short.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace headrace::cli {

/// Appends `text` so that a terminal can't be driven by it: control characters (also C1 and those that reverse the
/// writing direction) and bytes that are no UTF-8 become \xNN.
void append_safe(std::string& out, std::string_view text);
std::string safe(std::string_view text);

/// Columns that a safe text takes on a terminal; East Asian wide characters take two.
std::size_t columns(std::string_view text);

/// The text if it fits `most` columns, else its beginning and "…".
std::string shorten(std::string_view text, std::size_t most);

/// "1,234,567".
std::string grouped(std::uint64_t number);
/// "6.74 billion", "12.3 million", "4,096".
std::string rounded_count(std::uint64_t number);
/// "35 ms", "0.42 s", "12 s", "3 min 05 s", "2 h 07 min".
std::string duration(double seconds);
/// "512 MB/s"; empty when no time has passed.
std::string rate(std::uint64_t bytes, double seconds);

}  // namespace headrace::cli
