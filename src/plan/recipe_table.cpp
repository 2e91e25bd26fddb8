#include "plan/recipe_table.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace headrace::plan {
namespace {

using enum Recipe;
using enum Role;

template <class Enum>
class Set {
 public:
  constexpr Set(std::initializer_list<Enum> members) {
    for (const Enum member : members) bits_ |= bit(member);
  }
  constexpr Set operator~() const { return Set(~bits_); }
  constexpr bool contains(Enum member) const { return (bits_ & bit(member)) != 0; }

 private:
  explicit constexpr Set(std::uint64_t bits) : bits_(bits) {}
  static constexpr std::uint64_t bit(Enum member) { return std::uint64_t{1} << static_cast<unsigned>(member); }

  std::uint64_t bits_ = 0;
};

struct Row {
  Set<Recipe> recipes;
  Set<Role> roles;
  Facts when;  // all of these
  std::optional<DType> type;
};

constexpr Facts kAlways = 0;
constexpr std::optional<DType> kOwn = std::nullopt;  // the recipe's own type
constexpr Set<Recipe> kAll = ~Set<Recipe>{};
constexpr Set<Role> kAny = ~Set<Role>{};
constexpr Set<Recipe> kTiny = {IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ2_M};
constexpr Set<Recipe> kTinyButLarger = {IQ2_S, IQ2_M};

// The first row that fits decides; where none does, a tensor gets the recipe's own type.
// clang-format off
constexpr auto kTable = std::to_array<Row>({
    {kAll, {delicate}, kAlways, DType::Q8_0},

    // What makes the words: output.weight, or the embedding that stands in for it.
    {{MXFP4_MOE}, {output}, kAlways, DType::Q8_0},
    {kAll, {output}, fact::falcon, DType::Q8_0},
    {kAll, {output}, fact::odd_rows, DType::Q8_0},
    {{IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ2_M, IQ3_XXS}, {output}, kAlways, DType::Q5_K},
    {{Q8_0}, {output}, kAlways, DType::Q8_0},
    {kAll, {output}, kAlways, DType::Q6_K},

    {{MXFP4_MOE}, kAny, fact::stack, DType::MXFP4},
    {{MXFP4_MOE}, kAny, kAlways, DType::Q8_0},

    {{IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS}, {embedding}, kAlways, DType::Q2_K},
    {{IQ2_S, IQ2_M, IQ3_XXS}, {embedding}, kAlways, DType::IQ3_S},
    {{TQ1_0, TQ2_0}, {embedding}, kAlways, DType::Q4_K},

    // The tiny ones.
    {kTiny, {value}, fact::four_queries, DType::Q4_K},
    {kTiny, {value}, fact::four_experts, DType::Q4_K},
    {kTinyButLarger, {value}, kAlways, DType::IQ3_S},
    {kTiny, {value}, kAlways, DType::Q2_K},
    {kTiny, {key}, fact::eight_experts, DType::Q4_K},
    {kTinyButLarger, {down}, fact::first_8th, DType::IQ3_S},
    {kTiny, {down}, fact::first_8th, DType::Q2_K},
    {kTiny, {attention_output}, fact::eight_experts, DType::Q5_K},
    {{IQ1_S, IQ1_M}, {attention_output}, kAlways, DType::IQ2_XXS},
    {kTinyButLarger, {attention_output}, kAlways, DType::IQ3_S},
    {kTiny, kAny, kAlways, kOwn},

    // Values.
    {kAll, {value}, fact::eight_experts, DType::Q8_0},
    {{Q2_K, Q2_K_S, IQ3_XXS, IQ3_XS, IQ3_S}, {value}, fact::four_queries, DType::Q4_K},
    {{Q2_K}, {value}, kAlways, DType::Q3_K},
    {{IQ3_XXS}, {value}, fact::no_imatrix, DType::IQ3_S},
    {{IQ3_M}, {value}, kAlways, DType::Q4_K},
    {{Q3_K_M}, {value}, fact::first_two, DType::Q5_K},
    {{Q3_K_M}, {value}, kAlways, DType::Q4_K},
    {{Q3_K_L}, {value}, kAlways, DType::Q5_K},
    {{IQ4_NL, IQ4_XS}, {value}, fact::four_queries, DType::Q5_K},
    {{Q4_K_S}, {value}, fact::first_four, DType::Q5_K},
    {{Q4_K_M, Q5_K_M}, {value}, fact::more, DType::Q6_K},

    // Keys and queries.
    {kAll, {key}, fact::eight_experts, DType::Q8_0},
    {{IQ3_XS}, {key, query}, kAlways, DType::IQ3_XXS},
    {{IQ3_XXS}, {key, query}, kAlways, DType::IQ2_S},

    // What attention puts out.
    {{Q3_K_L}, {attention_output}, fact::falcon, DType::Q4_K},
    {kAll, {attention_output}, fact::falcon, kOwn},
    {{Q2_K, Q3_K_S, Q3_K_M, Q4_K_S, Q4_K_M, IQ3_XXS, IQ3_XS, IQ3_S, IQ3_M, IQ4_NL, IQ4_XS}, {attention_output},
     fact::eight_experts, DType::Q5_K},
    {kAll, {attention_output}, fact::eight_experts, kOwn},
    {{Q2_K}, {attention_output}, kAlways, DType::Q3_K},
    {{IQ3_XXS}, {attention_output}, kAlways, DType::IQ3_S},
    {{Q3_K_M, IQ3_M}, {attention_output}, kAlways, DType::Q4_K},
    {{Q3_K_L}, {attention_output}, kAlways, DType::Q5_K},

    // Feed-forward networks.
    {{IQ3_XS}, {up, gate}, fact::middle, DType::IQ3_XXS},
    {{Q2_K}, {down}, kAlways, DType::Q3_K},
    {{Q2_K_S}, {down}, fact::first_8th, DType::Q4_K},
    {{IQ3_XXS}, {down}, fact::no_imatrix | fact::first_8th, DType::Q4_K},
    {{IQ3_XXS}, {down}, fact::no_imatrix, DType::Q3_K},
    {{IQ3_M}, {down}, fact::first_8th, DType::Q4_K},
    {{IQ3_M}, {down}, fact::eight_experts | fact::more, DType::Q4_K},
    {{Q3_K_M}, {down}, fact::first_16th, DType::Q5_K},
    {{Q3_K_M}, {down}, fact::not_falcon, DType::Q4_K},
    {{Q3_K_M}, {down}, fact::more, DType::Q4_K},
    {{Q3_K_L}, {down}, fact::falcon, DType::Q4_K},
    {{Q3_K_L}, {down}, kAlways, DType::Q5_K},
    {{IQ4_NL, IQ4_XS}, {down}, fact::no_imatrix | fact::first_8th, DType::Q5_K},
    {{Q4_K_S}, {down}, fact::not_falcon | fact::first_8th, DType::Q5_K},
    {{Q4_K_M}, {down}, fact::falcon | fact::first_16th, DType::Q6_K},
    {{Q4_K_M}, {down}, fact::falcon | fact::more, DType::Q5_K},
    {{Q4_K_M, Q5_K_M}, {down}, fact::more, DType::Q6_K},
    {{Q4_0}, {down}, fact::imatrix | fact::first_8th, DType::Q4_1},
    {{Q5_0}, {down}, fact::imatrix | fact::first_8th, DType::Q5_1},
});
// clang-format on

}  // namespace

bool is_tiny(Recipe recipe) noexcept { return kTiny.contains(recipe); }

DType mixed_type(Recipe recipe, Role role, Facts facts) noexcept {
  const auto* found = std::ranges::find_if(kTable, [&](const Row& row) {
    return row.recipes.contains(recipe) && row.roles.contains(role) && (row.when & ~facts) == 0;
  });
  const std::optional<DType> type = found == kTable.end() ? kOwn : found->type;
  return type.value_or(info(recipe).type);
}

}  // namespace headrace::plan
