// Recipes: the mixtures of types that llama-quantize makes of language models.
//
// A recipe chooses by each tensor's role and layer: Q4_K_M gives the value projections and some of the ffn_down more
// bits than the rest. Source: llama.cpp, src/llama-quant.cpp (2026), whose choices these are, tensor for tensor.
// Thread-safety: everything here is constant data.
#pragma once

#include <headrace/dtype.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace headrace {

/// llama-quantize's names. A recipe whose types this build can't all make is refused for the tensor that needs one.
// clang-format off
enum class Recipe : std::uint8_t {
  F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0,
  Q2_K, Q2_K_S, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K,
  IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ2_M, IQ3_XXS, IQ3_XS, IQ3_S, IQ3_M, IQ4_NL, IQ4_XS,
  TQ1_0, TQ2_0, MXFP4_MOE,
};
// clang-format on

struct RecipeInfo {
  Recipe recipe;
  std::string_view name;    ///< "Q4_K_M"
  DType type;               ///< of the tensors that get no other
  std::uint32_t file_type;  ///< general.file_type: llama.cpp's number for it
};

const RecipeInfo& info(Recipe recipe) noexcept;
std::span<const RecipeInfo> all_recipes() noexcept;
inline std::string_view name(Recipe recipe) noexcept { return info(recipe).name; }

/// By name, in any case; "Q3_K", "Q4_K" and "Q5_K" are the _M ones, as in llama-quantize.
std::optional<Recipe> parse_recipe(std::string_view name) noexcept;

/// A recipe and what changes it, by llama-quantize's option names.
struct RecipeOptions {
  Recipe recipe = Recipe::Q4_K_M;
  bool pure = false;                               ///< every tensor gets the recipe's own type
  std::optional<DType> output_tensor_type = {};    ///< of output.weight, or the embedding that stands in for it
  std::optional<DType> token_embedding_type = {};  ///< of token_embd.weight and per_layer_token_embd.weight
  bool leave_output_tensor = false;                ///< output.weight stays as it is
  bool allow_requantize = false;                   ///< tensors that are quantised already may be quantised again
};

}  // namespace headrace
