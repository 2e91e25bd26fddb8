// The types that a recipe gives to a language model's tensors, as llama-quantize chooses them.
// Source: llama.cpp, src/llama-quant.cpp (2026), described in words and seen in what it makes.
#pragma once

#include "plan/language_model.hpp"

#include <headrace/recipe.hpp>
#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace headrace::plan {

/// Indices of the tensors in llama-quantize's order: those in no layer first, then layer by layer, each by name.
std::vector<std::uint32_t> recipe_order(std::span<const TensorInfo> tensors);

/// What a recipe makes of each tensor of a model. What one gets can depend on those before it in recipe_order.
class RecipeChoice {
 public:
  /// `tensors`: all that the output will have, under the names it gives them and with the dtypes of the source.
  /// `decided`: those whose type is settled already, one bit for each; they count for nothing. `has_imatrix`: there is
  /// an importance matrix, whether it knows a tensor or not.
  /// Throws Error(invalid_argument) for an expert's tensor in no layer of the model: the recipe needs to know which.
  RecipeChoice(const RecipeOptions& options, const LanguageModel& model, std::span<const TensorInfo> tensors,
               const std::vector<bool>& decided, bool has_imatrix);

  /// The type of tensor `i`; nothing where it stays as it is: it is decided, or none that llama-quantize quantises.
  std::optional<DType> type(std::size_t i) const noexcept { return choices_[i].type; }
  /// True where its rows are no whole number of blocks of the type it would have got.
  bool fell_back(std::size_t i) const noexcept { return choices_[i].fell_back; }

 private:
  struct Choice {
    std::optional<DType> type;
    bool fell_back = false;
  };
  std::vector<Choice> choices_;
};

/// Throws Error(unsupported) where llama-quantize refuses to make `to` of the tensor `source`: when it is quantised
/// already and options.allow_requantize is off, and when the type is too small to be made without an importance
/// matrix. `has_imatrix`: there is one that knows this tensor.
void require_allowed(const RecipeOptions& options, const TensorInfo& source, DType to, bool has_imatrix);

}  // namespace headrace::plan
