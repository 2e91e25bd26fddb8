#include "cli/types.hpp"

#include "cli/arguments.hpp"
#include "cli/text.hpp"

#include <headrace/error.hpp>
#include <headrace/recipe.hpp>
#include <headrace/targets.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace headrace::cli {

std::string available_types() { return fmt::format("{}", fmt::join(target_types(), ", ")); }

std::string did_you_mean(std::string_view typed, const std::vector<std::string_view>& names) {
  const std::vector<std::string_view> near = closest(typed, names);
  return near.empty() ? "" : fmt::format(" (did you mean {}?)", fmt::join(near, " or "));
}

DType parse_type(std::string_view typed, std::string_view option) {
  if (!parse_dtype(typed) && parse_recipe(typed)) {
    throw UsageError(fmt::format("{}: {} is a recipe of several types; say --recipe {}", option,
                                 name(*parse_recipe(typed)), name(*parse_recipe(typed))));
  }
  try {
    return parse_target_type(typed);
  } catch (const Error& error) {
    throw UsageError(fmt::format("{}: {}; types: {}", option, error.problem(), available_types()));
  }
}

}  // namespace headrace::cli
