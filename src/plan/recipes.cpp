// The names of recipes.
#include <headrace/recipe.hpp>

#include <array>
#include <cstddef>
#include <utility>

namespace headrace {
namespace {

// In the order of the enumeration, so that a recipe is its own row number.
constexpr std::array kTable = {
    RecipeInfo{Recipe::F32, "F32", DType::F32, 0},
    RecipeInfo{Recipe::F16, "F16", DType::F16, 1},
    RecipeInfo{Recipe::BF16, "BF16", DType::BF16, 32},
    RecipeInfo{Recipe::Q4_0, "Q4_0", DType::Q4_0, 2},
    RecipeInfo{Recipe::Q4_1, "Q4_1", DType::Q4_1, 3},
    RecipeInfo{Recipe::Q5_0, "Q5_0", DType::Q5_0, 8},
    RecipeInfo{Recipe::Q5_1, "Q5_1", DType::Q5_1, 9},
    RecipeInfo{Recipe::Q8_0, "Q8_0", DType::Q8_0, 7},
    RecipeInfo{Recipe::Q2_K, "Q2_K", DType::Q2_K, 10},
    RecipeInfo{Recipe::Q2_K_S, "Q2_K_S", DType::Q2_K, 21},
    RecipeInfo{Recipe::Q3_K_S, "Q3_K_S", DType::Q3_K, 11},
    RecipeInfo{Recipe::Q3_K_M, "Q3_K_M", DType::Q3_K, 12},
    RecipeInfo{Recipe::Q3_K_L, "Q3_K_L", DType::Q3_K, 13},
    RecipeInfo{Recipe::Q4_K_S, "Q4_K_S", DType::Q4_K, 14},
    RecipeInfo{Recipe::Q4_K_M, "Q4_K_M", DType::Q4_K, 15},
    RecipeInfo{Recipe::Q5_K_S, "Q5_K_S", DType::Q5_K, 16},
    RecipeInfo{Recipe::Q5_K_M, "Q5_K_M", DType::Q5_K, 17},
    RecipeInfo{Recipe::Q6_K, "Q6_K", DType::Q6_K, 18},
    RecipeInfo{Recipe::IQ1_S, "IQ1_S", DType::IQ1_S, 24},
    RecipeInfo{Recipe::IQ1_M, "IQ1_M", DType::IQ1_M, 31},
    RecipeInfo{Recipe::IQ2_XXS, "IQ2_XXS", DType::IQ2_XXS, 19},
    RecipeInfo{Recipe::IQ2_XS, "IQ2_XS", DType::IQ2_XS, 20},
    RecipeInfo{Recipe::IQ2_S, "IQ2_S", DType::IQ2_XS, 28},  // named for what it adds to IQ2_XS
    RecipeInfo{Recipe::IQ2_M, "IQ2_M", DType::IQ2_S, 29},
    RecipeInfo{Recipe::IQ3_XXS, "IQ3_XXS", DType::IQ3_XXS, 23},
    RecipeInfo{Recipe::IQ3_XS, "IQ3_XS", DType::IQ3_S, 22},
    RecipeInfo{Recipe::IQ3_S, "IQ3_S", DType::IQ3_S, 26},
    RecipeInfo{Recipe::IQ3_M, "IQ3_M", DType::IQ3_S, 27},
    RecipeInfo{Recipe::IQ4_NL, "IQ4_NL", DType::IQ4_NL, 25},
    RecipeInfo{Recipe::IQ4_XS, "IQ4_XS", DType::IQ4_XS, 30},
    RecipeInfo{Recipe::TQ1_0, "TQ1_0", DType::TQ1_0, 36},
    RecipeInfo{Recipe::TQ2_0, "TQ2_0", DType::TQ2_0, 37},
    RecipeInfo{Recipe::MXFP4_MOE, "MXFP4_MOE", DType::MXFP4, 38},
};

constexpr bool in_enumeration_order() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<std::size_t>(kTable[i].recipe) != i) return false;
  }
  return kTable.size() == static_cast<std::size_t>(Recipe::MXFP4_MOE) + 1;
}
static_assert(in_enumeration_order(), "a recipe must be its own row number");

constexpr std::array<std::pair<std::string_view, Recipe>, 3> kShortNames = {
    {{"Q3_K", Recipe::Q3_K_M}, {"Q4_K", Recipe::Q4_K_M}, {"Q5_K", Recipe::Q5_K_M}}};

// Names are in capitals. Not std::toupper: that one asks the host program's locale.
constexpr char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

constexpr bool spells(std::string_view text, std::string_view name) {
  if (text.size() != name.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (upper(text[i]) != name[i]) return false;
  }
  return true;
}

}  // namespace

const RecipeInfo& info(Recipe recipe) noexcept { return kTable[static_cast<std::size_t>(recipe)]; }

std::span<const RecipeInfo> all_recipes() noexcept { return kTable; }

std::optional<Recipe> parse_recipe(std::string_view name) noexcept {
  for (const RecipeInfo& row : kTable) {
    if (spells(name, row.name)) return row.recipe;
  }
  for (const auto& [short_name, recipe] : kShortNames) {
    if (spells(name, short_name)) return recipe;
  }
  return std::nullopt;
}

}  // namespace headrace
