#include "cli/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <headrace/bytes.hpp>
#include <iterator>

namespace headrace::cli {
namespace {

struct Decoded {
  char32_t point = 0;
  std::size_t bytes = 0;  // 0: not UTF-8
};

unsigned byte_at(std::string_view text, std::size_t i) { return static_cast<unsigned char>(text[i]); }

// One code point at the beginning of `text`, by the strict rules: no overlong form, no surrogate, nothing past
// U+10FFFF.
Decoded decode(std::string_view text) {
  const unsigned lead = byte_at(text, 0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
  char32_t point = lead & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const unsigned next = byte_at(text, i);
    if ((next & 0xc0U) != 0x80) return {};
    point = point << 6 | (next & 0x3fU);
  }
  constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  if (point < kLeast[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return {};
  return {point, length};
}

// Controls, and the marks that make a line read in another order than it is written.
bool is_dangerous(char32_t point) {
  return point < 0x20 || (point >= 0x7f && point <= 0x9f) || (point >= 0x200e && point <= 0x200f) ||
         (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

std::size_t width(char32_t point) {
  struct Range {
    char32_t first, last;
  };
  constexpr std::array<Range, 9> kWide{{{0x1100, 0x115f},
                                        {0x2e80, 0xa4cf},
                                        {0xac00, 0xd7a3},
                                        {0xf900, 0xfaff},
                                        {0xfe30, 0xfe6f},
                                        {0xff00, 0xff60},
                                        {0xffe0, 0xffe6},
                                        {0x1f300, 0x1f9ff},
                                        {0x20000, 0x3fffd}}};
  const bool wide =
      std::any_of(kWide.begin(), kWide.end(), [&](Range range) { return point >= range.first && point <= range.last; });
  return wide ? 2 : 1;
}

bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace

void append_safe(std::string& out, std::string_view text) {
  if (is_plain(text)) {
    out += text;
    return;
  }
  while (!text.empty()) {
    const Decoded decoded = decode(text);
    const std::size_t taken = std::max<std::size_t>(decoded.bytes, 1);
    if (decoded.bytes != 0 && !is_dangerous(decoded.point)) {
      out += text.substr(0, taken);
    } else {
      for (std::size_t i = 0; i < taken; ++i) fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte_at(text, i));
    }
    text.remove_prefix(taken);
  }
}

std::string safe(std::string_view text) {
  std::string out;
  append_safe(out, text);
  return out;
}

std::size_t columns(std::string_view text) {
  if (is_plain(text)) return text.size();
  std::size_t total = 0;
  while (!text.empty()) {
    const Decoded decoded = decode(text);
    total += decoded.bytes == 0 ? 1 : width(decoded.point);
    text.remove_prefix(std::max<std::size_t>(decoded.bytes, 1));
  }
  return total;
}

std::string shorten(std::string_view text, std::size_t most) {
  if (columns(text) <= most) return std::string(text);
  std::size_t kept = 0;
  std::size_t used = 0;
  while (kept < text.size()) {
    const Decoded decoded = decode(text.substr(kept));
    const std::size_t more = decoded.bytes == 0 ? 1 : width(decoded.point);
    if (used + more + 1 > most) break;  // one column is the ellipsis's
    used += more;
    kept += std::max<std::size_t>(decoded.bytes, 1);
  }
  return std::string(text.substr(0, kept)) + "…";
}

std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string rounded_count(std::uint64_t number) {
  const auto value = static_cast<double>(number);
  if (number >= 1'000'000'000'000U) return fmt::format("{:.3g} trillion", value / 1e12);
  if (number >= 1'000'000'000U) return fmt::format("{:.3g} billion", value / 1e9);
  if (number >= 1'000'000U) return fmt::format("{:.3g} million", value / 1e6);
  return grouped(number);
}

std::string duration(double seconds) {
  if (!(seconds >= 0)) return "?";
  if (seconds < 0.0995) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 9.95) return fmt::format("{:.{}f} s", seconds, seconds < 0.995 ? 2 : 1);
  if (seconds > 3.6e8) return "years";  // also keeps the casts below in range
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string rate(std::uint64_t bytes, double seconds) {
  if (!(seconds > 0)) return {};
  const double per_second = static_cast<double>(bytes) / seconds;
  if (!(per_second < 1e18)) return {};
  return format_bytes(static_cast<std::uint64_t>(per_second)) + "/s";
}

}  // namespace headrace::cli
