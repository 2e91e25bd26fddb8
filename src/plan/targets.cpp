#include "codec/codec.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>
#include <headrace/recipe.hpp>
#include <headrace/targets.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

namespace headrace {
namespace {

bool same_letter(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

// Letters to add, drop or change to come from one text to the other (Levenshtein's distance, one row at a time).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (same_letter(a[i], b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

bool is_makeable(const DTypeInfo& type) { return codec::can_encode(type.dtype) && !type.internal; }

// Types that someone may want to convert to: those this build can make, or the block types it can't.
std::vector<std::string_view> types_for(bool makeable) {
  std::vector<std::string_view> names;
  for (const DTypeInfo& type : all_dtypes()) {
    const bool wanted = makeable || (is_block(type.dtype) && !type.internal);
    if (wanted && is_makeable(type) == makeable) names.push_back(spelling(type.dtype));
  }
  return names;
}

// A type that this build lacks is named only when none that it has is as near.
std::string hint_for(std::string_view typed) {
  const std::vector<std::string_view> near = closest(typed, types_for(true));
  const std::vector<std::string_view> lacking = closest(typed, types_for(false));
  const bool lacking_is_nearer =
      !lacking.empty() && (near.empty() || distance(typed, lacking.front()) < distance(typed, near.front()));
  if (lacking_is_nearer) return fmt::format(" ({} is one that this build can't make)", fmt::join(lacking, " or "));
  return near.empty() ? "" : fmt::format(" (did you mean {}?)", fmt::join(near, " or "));
}

Error wrong(std::string problem, std::string hint = {}) {
  return {ErrorCode::invalid_argument,
          std::move(problem),
          {.expected = fmt::format("one of {}", fmt::join(target_types(), ", ")), .hint = std::move(hint)}};
}

}  // namespace

std::string_view spelling(DType dtype) noexcept {
  const DTypeInfo& type = info(dtype);
  return type.ggml_name.empty() ? type.name : type.ggml_name;
}

std::vector<std::string_view> target_types() { return types_for(true); }

std::vector<std::string_view> closest(std::string_view typed, std::span<const std::string_view> names) {
  constexpr std::size_t kLongest = 32;  // nobody means a type by more than that
  if (typed.size() > kLongest) return {};
  std::size_t best = std::max<std::size_t>(2, typed.size() / 3);
  std::vector<std::string_view> found;
  for (const std::string_view name : names) {
    const std::size_t far = distance(typed, name);
    if (far > best || far >= name.size()) continue;
    if (far < best) found.clear();
    best = far;
    found.push_back(name);
  }
  if (found.size() > 3) found.resize(3);
  return found;
}

DType parse_target_type(std::string_view typed) {
  const std::optional<DType> type = parse_dtype(typed);
  if (!type && parse_recipe(typed)) {
    const std::string_view recipe = name(*parse_recipe(typed));
    throw wrong(fmt::format("{} is a recipe of several types", recipe),
                fmt::format("--recipe {} chooses types for a whole model", recipe));
  }
  if (!type) throw wrong(fmt::format("unknown type '{}'{}", format::printable(typed), hint_for(typed)));
  if (!is_makeable(info(*type))) {
    throw wrong(fmt::format("this build can't make {}{}", name(*type),
                            codec::can_decode(*type) && !info(*type).internal ? ", it only reads it" : ""));
  }
  return *type;
}

}  // namespace headrace
