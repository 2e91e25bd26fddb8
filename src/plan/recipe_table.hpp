// What recipes give to which tensors: the one table of it.
#pragma once

#include "plan/tensor_role.hpp"

#include <headrace/recipe.hpp>

#include <cstdint>
#include <optional>

namespace headrace::plan {

/// What can be true of a tensor and its model, a bit each; rows of the table ask for some.
using Facts = std::uint16_t;
namespace fact {
constexpr Facts falcon = 1 << 0;         // the architecture
constexpr Facts not_falcon = 1 << 1;     //
constexpr Facts imatrix = 1 << 2;        // there is an importance matrix
constexpr Facts no_imatrix = 1 << 3;     //
constexpr Facts four_queries = 1 << 4;   // at least four heads of queries share one of keys
constexpr Facts four_experts = 1 << 5;   // at least
constexpr Facts eight_experts = 1 << 6;  // exactly
constexpr Facts stack = 1 << 7;          // the tensor has three dimensions: one matrix per expert
constexpr Facts odd_rows = 1 << 8;       // they are no whole number of blocks of the recipe's own type
// Where the tensor stands among the n of its role:
constexpr Facts first_two = 1 << 9;
constexpr Facts first_four = 1 << 10;
constexpr Facts first_16th = 1 << 11;
constexpr Facts first_8th = 1 << 12;
constexpr Facts middle = 1 << 13;  // neither in the first nor in the last eighth
constexpr Facts more = 1 << 14;    // in the first or the last eighth, or every third in between
}  // namespace fact

/// The facts of place of number `i` of `n`.
constexpr Facts facts_of_place(std::uint64_t i, std::uint64_t n) noexcept {
  const std::uint64_t first = n / 8, last = 7 * n / 8;
  Facts facts = 0;
  if (i < 2) facts |= fact::first_two;
  if (i < 4) facts |= fact::first_four;
  if (i < n / 16) facts |= fact::first_16th;
  if (i < first) facts |= fact::first_8th;
  if (i >= first && i < last) facts |= fact::middle;
  if (i < first || i >= last || (i - first) % 3 == 2) facts |= fact::more;
  return facts;
}

/// True for the recipes of about one and two bits, which have rules of their own.
bool is_tiny(Recipe recipe) noexcept;

/// The type that a recipe gives to a tensor of that role, before anything is said of the length of its rows.
DType mixed_type(Recipe recipe, Role role, Facts facts) noexcept;

}  // namespace headrace::plan
