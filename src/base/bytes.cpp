#include <headrace/bytes.hpp>

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

namespace headrace {
namespace {

std::optional<double> unit_of(std::string_view suffix) {
  std::string lower;
  for (const char c : suffix) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower.empty() || lower == "b") return 1.0;
  constexpr std::string_view kPrefixes = "kmgt";
  const std::size_t power = kPrefixes.find(lower[0]);
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view rest = std::string_view(lower).substr(1);
  const double base = rest.empty() || rest == "ib" ? 1024.0 : rest == "b" ? 1000.0 : 0.0;
  if (base == 0.0) return std::nullopt;
  return std::pow(base, static_cast<double>(power + 1));
}

}  // namespace

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  const std::size_t digits = text.find_first_not_of("0123456789.");
  const std::string_view number = text.substr(0, digits);
  std::string_view suffix = digits == std::string_view::npos ? std::string_view{} : text.substr(digits);
  while (!suffix.empty() && suffix.front() == ' ') suffix.remove_prefix(1);
  const std::optional<double> unit = unit_of(suffix);
  if (number.empty() || !unit) return std::nullopt;
  const char* end = number.data() + number.size();

  std::uint64_t whole = 0;  // whole numbers are exact, however large
  if (const auto [at, error] = std::from_chars(number.data(), end, whole); error == std::errc{} && at == end) {
    std::uint64_t bytes = 0;
    if (__builtin_mul_overflow(whole, static_cast<std::uint64_t>(*unit), &bytes)) return std::nullopt;
    return bytes;
  }
  double fraction = 0;
  const auto [at, error] = std::from_chars(number.data(), end, fraction, std::chars_format::fixed);
  if (error != std::errc{} || at != end || fraction * *unit >= 0x1p63) return std::nullopt;
  return static_cast<std::uint64_t>(std::llround(fraction * *unit));
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  constexpr std::array kUnits = {"kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes) / 1000.0;
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000.0;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, decimals, kUnits[unit]);
}

}  // namespace headrace
