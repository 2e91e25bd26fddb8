// Shaping as people write it.
#include "format/printable.hpp"

#include <headrace/error.hpp>
#include <headrace/shaping.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace headrace {
namespace {

[[noreturn]] void refuse(std::string_view option, std::string_view text, std::string_view expected) {
  throw Error(ErrorCode::invalid_argument, fmt::format("{} '{}' isn't understood", option, format::printable(text)),
              {.expected = std::string(expected)});
}

std::vector<std::string> list_in(std::string_view text) {
  std::vector<std::string> words;
  for (;;) {
    const std::size_t comma = std::min(text.find(','), text.size());
    words.emplace_back(text.substr(0, comma));
    if (comma == text.size()) return words;
    text.remove_prefix(comma + 1);
  }
}

bool has_empty(const std::vector<std::string>& words) {
  return std::ranges::any_of(words, [](const std::string& word) { return word.empty(); });
}

bool has_number(const std::string& name) { return name.find("{}") != name.npos; }

// "{}" is one number: it stands in all names, or in none.
void require_same_number(std::string_view option, std::string_view text, const std::string& name,
                         const std::vector<std::string>& others) {
  const bool with = has_number(name);
  if (std::ranges::all_of(others, [&](const std::string& other) { return has_number(other) == with; })) return;
  refuse(option, text, "{} in every name, or in none");
}

}  // namespace

Rename parse_rename(std::string_view text) {
  const std::size_t equals = text.rfind('=');
  if (equals == text.npos || equals == 0) refuse("--rename", text, "PATTERN=REPLACEMENT, such as '^blocks\\.=blk.'");
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

Concat parse_concat(std::string_view text) {
  const std::size_t equals = std::min(text.find('='), text.size());
  Concat concat{std::string(text.substr(0, equals)), {}};
  if (equals < text.size()) concat.parts = list_in(text.substr(equals + 1));
  if (concat.name.empty() || concat.parts.size() < 2 || has_empty(concat.parts))
    refuse("--concat", text, "NAME=A,B,…, such as 'blk.{}.qkv.weight=blk.{}.q.weight,blk.{}.k.weight,blk.{}.v.weight'");
  require_same_number("--concat", text, concat.name, concat.parts);
  std::vector<std::string> sorted = concat.parts;
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) != sorted.end()) refuse("--concat", text, "each part once");
  return concat;
}

Split parse_split(std::string_view text) {
  constexpr std::string_view kForm = "NAME=A,B,… or NAME=A:ROWS,B:ROWS,…";
  const std::size_t equals = std::min(text.find('='), text.size());
  Split split{std::string(text.substr(0, equals)), {}};
  if (split.name.empty() || equals == text.size()) refuse("--split", text, kForm);
  std::size_t sized = 0;
  for (std::string& word : list_in(text.substr(equals + 1))) {
    Split::Part part{std::move(word)};
    if (const std::size_t colon = part.name.rfind(':'); colon != part.name.npos) {
      const char *begin = part.name.data() + colon + 1, *end = part.name.data() + part.name.size();
      const auto [stop, error] = std::from_chars(begin, end, part.rows);
      if (error != std::errc() || stop != end || part.rows == 0) refuse("--split", text, kForm);
      part.name.resize(colon);
      ++sized;
    }
    if (part.name.empty()) refuse("--split", text, kForm);
    split.parts.push_back(std::move(part));
  }
  if (split.parts.size() < 2 || (sized != 0 && sized != split.parts.size())) refuse("--split", text, kForm);
  std::vector<std::string> names;
  for (const Split::Part& part : split.parts) names.push_back(part.name);
  require_same_number("--split", text, split.name, names);
  return split;
}

}  // namespace headrace
