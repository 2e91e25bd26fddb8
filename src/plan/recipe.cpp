#include "plan/recipe.hpp"

#include "format/printable.hpp"
#include "plan/recipe_table.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>

namespace headrace::plan {
namespace {

// The type for rows that are no whole number of blocks of `type`; F16 where they are none of that one either.
DType fallback_of(DType type) noexcept {
  switch (type) {
    case DType::Q2_K:
    case DType::Q3_K:
    case DType::TQ1_0:
    case DType::TQ2_0:
    case DType::Q2_0: return DType::Q4_0;
    case DType::Q4_K: return DType::Q5_0;
    case DType::Q5_K: return DType::Q5_1;
    case DType::Q6_K: return DType::Q8_0;
    case DType::IQ1_S:
    case DType::IQ1_M:
    case DType::IQ2_XXS:
    case DType::IQ2_XS:
    case DType::IQ2_S:
    case DType::IQ3_XXS:
    case DType::IQ3_S:
    case DType::IQ4_XS: return DType::IQ4_NL;
    default: return DType::F16;
  }
}

bool fits(DType type, const TensorInfo& tensor) noexcept {
  return tensor.row_elements() % info(type).block_elements == 0;
}

bool is_stack(Shape shape) noexcept { return shape.size() > 2 && shape[shape.size() - 3] > 1; }

bool is_feed_forward(Role role) noexcept { return role == Role::up || role == Role::gate || role == Role::down; }

// The recipe's own rules. It counts the tensors it is asked for.
class Mixture {
 public:
  Mixture(const RecipeOptions& options, const LanguageModel& model, std::span<const TensorInfo> tensors,
          bool has_imatrix)
      : options_(options), model_(model), facts_(facts_of_model(model, has_imatrix)) {
    for (const TensorInfo& tensor : tensors) {
      const Role role = role_of(tensor.name, model.architecture);
      values_ += role == Role::value ? 1 : 0;
      has_output_ = has_output_ || role == Role::output;
    }
  }

  DType next(const TensorInfo& tensor, Role role) {
    if (role == Role::embedding && !has_output_) {
      if (options_.output_tensor_type) return *options_.output_tensor_type;
      role = Role::output;
    }
    Facts facts = facts_;
    if (is_stack(tensor.shape) && (is_feed_forward(role) || model_.architecture != "bailingmoe3")) facts |= fact::stack;
    if (!fits(info(options_.recipe).type, tensor)) facts |= fact::odd_rows;
    facts |= facts_of_place(place_of(tensor, role), role == Role::value ? values_ : model_.layers);
    const DType type = mixed_type(options_.recipe, role, facts);
    const bool too_small = type == DType::Q3_K || type == DType::Q4_K;
    return model_.is_70b && role == Role::value && too_small && !is_tiny(options_.recipe) ? DType::Q5_K : type;
  }

 private:
  static Facts facts_of_model(const LanguageModel& model, bool has_imatrix) noexcept {
    Facts facts = has_imatrix ? fact::imatrix : fact::no_imatrix;
    facts |= model.architecture == "falcon" ? fact::falcon : fact::not_falcon;
    if (model.queries_per_key >= 4) facts |= fact::four_queries;
    if (model.experts >= 4) facts |= fact::four_experts;
    if (model.experts == 8) facts |= fact::eight_experts;
    return facts;
  }

  // Which of its role it is. Where there are experts, a layer can have several feed-forward networks, or none that
  // counts: then the name says which layer it is.
  std::uint64_t place_of(const TensorInfo& tensor, Role role) {
    const std::uint64_t count = counts_[static_cast<std::size_t>(role)]++;
    const bool by_name = model_.experts > 1 && is_feed_forward(role) && !is_tiny(options_.recipe) &&
                         options_.recipe != Recipe::MXFP4_MOE;
    if (!by_name) return count;
    const auto layer = layer_of(tensor.name);
    if (!layer || *layer >= model_.layers) {
      throw Error(ErrorCode::invalid_argument, "its name doesn't say which of the model's layers it is in",
                  {.tensor = format::printable(tensor.name),
                   .expected = fmt::format("blk.N. with N below {}", model_.layers),
                   .hint = "--rule can give it a type"});
    }
    return *layer;
  }

  const RecipeOptions& options_;
  const LanguageModel& model_;
  Facts facts_;  // that are true of all tensors
  std::uint64_t values_ = 0;
  bool has_output_ = false;
  std::array<std::uint64_t, static_cast<std::size_t>(Role::other) + 1> counts_{};
};

bool needs_imatrix(Recipe recipe, const TensorInfo& tensor, DType type) noexcept {
  const Role role = role_of(tensor.name, {});
  if (role == Role::output || role == Role::embedding) return false;
  switch (type) {
    case DType::IQ1_S:
    case DType::IQ1_M:
    case DType::IQ2_XXS:
    case DType::IQ2_XS:
    case DType::IQ2_S:
    case DType::IQ3_XXS: return true;
    case DType::Q2_K: return recipe == Recipe::Q2_K_S;
    default: return false;
  }
}

// Integers are never retyped; llama-quantize stops there.
bool stays(const RecipeOptions& options, const LanguageModel& model, const TensorInfo& tensor) noexcept {
  return !is_quantised(tensor, model.architecture) || (!is_float(tensor.dtype) && !is_block(tensor.dtype)) ||
         (options.leave_output_tensor && tensor.name == "output.weight");
}

}  // namespace

std::vector<std::uint32_t> recipe_order(std::span<const TensorInfo> tensors) {
  std::vector<std::uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto key = [&](std::uint32_t i) { return std::tuple(layer_of(tensors[i].name), tensors[i].name); };
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return key(a) < key(b); });
  return order;
}

RecipeChoice::RecipeChoice(const RecipeOptions& options, const LanguageModel& model,
                           std::span<const TensorInfo> tensors, const std::vector<bool>& decided, bool has_imatrix)
    : choices_(tensors.size()) {
  const DType own = info(options.recipe).type;
  Mixture mixture(options, model, tensors, has_imatrix);
  for (const std::uint32_t i : recipe_order(tensors)) {
    const TensorInfo& tensor = tensors[i];
    if (decided[i] || stays(options, model, tensor)) continue;
    const Role role = role_of(tensor.name, model.architecture);
    DType type = own;
    if (role == Role::embedding && options.token_embedding_type) {
      type = *options.token_embedding_type;
    } else if (role == Role::output && options.output_tensor_type) {
      type = *options.output_tensor_type;
    } else if (is_block(own) && !options.pure) {
      type = mixture.next(tensor, role);
    }
    Choice& choice = choices_[i];
    choice.fell_back = !fits(type, tensor);
    if (choice.fell_back) type = fallback_of(type);
    choice.type = fits(type, tensor) ? type : DType::F16;
  }
}

void require_allowed(const RecipeOptions& options, const TensorInfo& source, DType to, bool has_imatrix) {
  if (source.dtype == to) return;
  const auto refuse = [&](std::string problem, std::string hint) {
    throw Error(ErrorCode::unsupported, std::move(problem),
                {.tensor = format::printable(source.name), .hint = std::move(hint)});
  };
  if (is_block(source.dtype) && !options.allow_requantize) {
    refuse(fmt::format("it is quantised already: {}, which would become {}", name(source.dtype), name(to)),
           "--allow-requantize does it, which costs accuracy");
  }
  if (!has_imatrix && needs_imatrix(options.recipe, source, to)) {
    refuse(fmt::format("{} isn't made without an importance matrix in {}", name(to), name(options.recipe)),
           "--imatrix FILE");
  }
}

}  // namespace headrace::plan
