#include "format/safetensors/json_token.hpp"

#include <charconv>
#include <cstring>

namespace headrace::format::safetensors {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Four hexadecimal digits; nothing when they are no such.
std::optional<std::uint32_t> hex4(const char* at) {
  std::uint32_t number = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = at[i];
    const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (!is_digit(c) && !letter) return std::nullopt;
    number = number * 16 + static_cast<std::uint32_t>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return number;
}

char* put_utf8(char* out, std::uint32_t code) {
  const auto put = [&out](std::uint32_t byte) { *out++ = static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
  return out;
}

struct Escape {
  std::uint32_t code = 0;
  std::size_t length = 0;  // of the escape in the text, 0 when it is invalid
};

// `at` is the backslash. No digit is looked at beyond the first character that isn't one, so this stays in the string.
Escape read_escape(const char* at) {
  switch (at[1]) {
    case '"': return {'"', 2};
    case '\\': return {'\\', 2};
    case '/': return {'/', 2};
    case 'b': return {'\b', 2};
    case 'f': return {'\f', 2};
    case 'n': return {'\n', 2};
    case 'r': return {'\r', 2};
    case 't': return {'\t', 2};
    case 'u': break;
    default: return {};
  }
  const std::optional<std::uint32_t> first = hex4(at + 2);
  if (!first || (*first >= 0xDC00 && *first < 0xE000)) return {};
  if (*first < 0xD800 || *first >= 0xE000) return {*first, 6};
  if (at[6] != '\\' || at[7] != 'u') return {};
  const std::optional<std::uint32_t> second = hex4(at + 8);
  if (!second || *second < 0xDC00 || *second >= 0xE000) return {};
  return {0x10000 + ((*first - 0xD800) << 10) + (*second - 0xDC00), 12};
}

}  // namespace

JsonText decode_string(char* begin) noexcept {
  const char* in = begin;
  while (*in != '"' && *in != '\\') ++in;  // nearly every string ends here, at its quote
  char* out = begin + (in - begin);
  while (*in != '"') {
    if (*in != '\\') {
      *out++ = *in++;
      continue;
    }
    const Escape escape = read_escape(in);
    if (escape.length == 0) return {.text = {}, .bad = static_cast<std::size_t>(in - begin)};
    out = put_utf8(out, escape.code);  // never longer than the escape
    in += escape.length;
  }
  return {.text = std::string_view(begin, static_cast<std::size_t>(out - begin))};
}

bool valid_string(const char* begin) noexcept {
  const char* in = begin;
  while (*in != '"') {
    const std::size_t length = *in == '\\' ? read_escape(in).length : 1;
    if (length == 0) return false;
    in += length;
  }
  return true;
}

std::optional<std::uint64_t> plain_integer(std::string_view token) noexcept {
  if (token.empty() || !is_digit(token[0]) || (token[0] == '0' && token.size() > 1)) return std::nullopt;
  std::uint64_t number = 0;
  const char* end = token.data() + token.size();
  const auto [at, error] = std::from_chars(token.data(), end, number);
  if (error != std::errc{} || at != end) return std::nullopt;
  return number;
}

bool valid_scalar(std::string_view token) noexcept {
  if (token == "true" || token == "false" || token == "null") return true;
  const auto skip_digits = [&token] {
    const std::size_t before = token.size();
    while (!token.empty() && is_digit(token[0])) token.remove_prefix(1);
    return before - token.size();
  };
  if (token.starts_with('-')) token.remove_prefix(1);
  const bool zero = token.starts_with('0');
  const std::size_t whole = skip_digits();
  if (whole == 0 || (zero && whole > 1)) return false;
  if (token.starts_with('.')) {
    token.remove_prefix(1);
    if (skip_digits() == 0) return false;
  }
  if (token.starts_with('e') || token.starts_with('E')) {
    token.remove_prefix(1);
    if (token.starts_with('+') || token.starts_with('-')) token.remove_prefix(1);
    if (skip_digits() == 0) return false;
  }
  return token.empty();
}

}  // namespace headrace::format::safetensors
