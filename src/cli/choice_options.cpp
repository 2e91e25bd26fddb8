#include "cli/choice_options.hpp"

#include "cli/arguments.hpp"
#include "cli/types.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace headrace::cli {
namespace {

std::vector<std::string_view> recipe_names() {
  std::vector<std::string_view> names;
  for (const RecipeInfo& recipe : all_recipes()) names.push_back(recipe.name);
  return names;
}

void add_recipe_options(CLI::App& command, ChoiceArguments& arguments) {
  command
      .add_option(
          "--recipe", arguments.recipe,
          "Types by role and layer of a language model's GGUF, as\nllama-quantize chooses them: Q4_K_M, Q5_K_S, ...")
      ->type_name("NAME");
  command.add_flag("--pure", arguments.pure, "With --recipe: its own type for every tensor");
  command.add_option("--output-tensor-type", arguments.output_tensor_type, "With --recipe: the type of output.weight")
      ->type_name("NAME");
  command
      .add_option("--token-embedding-type", arguments.token_embedding_type,
                  "With --recipe: the type of token_embd.weight")
      ->type_name("NAME");
  command.add_flag("--leave-output-tensor", arguments.leave_output_tensor,
                   "With --recipe: output.weight stays as it is");
  command.add_flag("--allow-requantize", arguments.allow_requantize,
                   "With --recipe: tensors that are quantised already may be\nquantised again");
}

std::string profile_of(const ChoiceArguments& arguments) {
  const std::string& list = arguments.skip_list;
  if (!list.empty() && list != "sdcpp" && list != "none")
    throw UsageError(fmt::format("--skip-list: expected sdcpp or none, found '{}'", list));
  if (list != "sdcpp") return arguments.profile;
  if (!arguments.profile.empty() && arguments.profile != list)
    throw UsageError("--skip-list sdcpp is --for sdcpp, and there is another --for");
  return list;
}

std::vector<Rule> type_rules_of(const ChoiceArguments& arguments) try {
  return parse_type_rules(arguments.type_rules);
} catch (const Error& error) {
  throw UsageError(error.what());
}

// llama-quantize's word for no recipe at all.
bool is_copy(std::string_view text) {
  constexpr std::string_view kCopy = "copy";
  return std::ranges::equal(text, kCopy, [](char a, char b) { return (a | 0x20) == b; });
}

void set_recipe(const ChoiceArguments& arguments, ConvertOptions& options) {
  const bool details = arguments.pure || arguments.leave_output_tensor || arguments.allow_requantize ||
                       !arguments.output_tensor_type.empty() || !arguments.token_embedding_type.empty();
  if (is_copy(arguments.recipe)) return;
  if (arguments.recipe.empty()) {
    if (details)
      throw UsageError(
          "--pure, --output-tensor-type, --token-embedding-type, --leave-output-tensor and --allow-requantize change "
          "what --recipe chooses; with --type, rules do the same: --rule '^output\\.weight$=q8_0'");
    return;
  }
  RecipeOptions recipe;
  const auto known = parse_recipe(arguments.recipe);
  if (!known) {
    const auto names = recipe_names();
    throw UsageError(fmt::format("--recipe: unknown recipe '{}'{}; recipes: {}", arguments.recipe,
                                 did_you_mean(arguments.recipe, names), fmt::join(names, ", ")));
  }
  recipe.recipe = *known;
  recipe.pure = arguments.pure;
  recipe.leave_output_tensor = arguments.leave_output_tensor;
  recipe.allow_requantize = arguments.allow_requantize;
  if (!arguments.output_tensor_type.empty())
    recipe.output_tensor_type = parse_type(arguments.output_tensor_type, "--output-tensor-type");
  if (!arguments.token_embedding_type.empty())
    recipe.token_embedding_type = parse_type(arguments.token_embedding_type, "--token-embedding-type");
  options.recipe = recipe;
}

}  // namespace

void add_type_options(CLI::App& command, ChoiceArguments& arguments) {
  command.add_option("--type", arguments.type, "The type to convert to; this build can make\n" + available_types())
      ->type_name("NAME");
  command
      .add_option("--rule,--tensor-type", arguments.rules,
                  "What becomes of tensors whose name in the output a pattern finds:\n"
                  "'attn=q8_0', 'embed=keep', '^ema=drop', 'ffn=fallback:q4_K,q5_0',\n"
                  "'ffn=rmse:0.01' (the smallest type with so small an error), and by\n"
                  "shape: 'ndim<2=f32'. The first rule that matches decides")
      ->type_name("RULE")
      ->allow_extra_args(false);
  command.add_option("--rules", arguments.rule_files, "Rules from a file, one a line, after those of --rule")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command
      .add_option("--tensor-type-rules", arguments.type_rules,
                  "Types by name, comma-separated, after the other rules:\n\"REGEX=TYPE,REGEX=TYPE\"")
      ->type_name("RULES");
}

void add_choice_options(CLI::App& command, ChoiceArguments& arguments) {
  add_type_options(command, arguments);
  command
      .add_option("--for", arguments.profile,
                  "Whom the output is for: sdcpp, comfyui, llamacpp, or a file like\nthem: what stays unquantised, "
                  "names, shapes, metadata")
      ->type_name("NAME|FILE");
  command.add_option("--skip-list", arguments.skip_list, "sdcpp: the same as --for sdcpp; none: the default")
      ->type_name("sdcpp|none");
  add_recipe_options(command, arguments);
}

std::optional<DType> type_of(const ChoiceArguments& arguments) {
  if (arguments.type.empty() || is_copy(arguments.type)) return std::nullopt;
  return parse_type(arguments.type, "--type");
}

std::vector<Rule> rules_of(const ChoiceArguments& arguments) {
  std::vector<Rule> rules;
  for (const std::string& rule : arguments.rules) rules.push_back(parse_rule(rule));
  for (const std::string& file : arguments.rule_files) {
    for (Rule& rule : read_rules(file)) rules.push_back(std::move(rule));
  }
  for (Rule& rule : type_rules_of(arguments)) rules.push_back(std::move(rule));
  return rules;
}

void set_choice(const ChoiceArguments& arguments, ConvertOptions& options) {
  options.type = type_of(arguments);
  options.rules = rules_of(arguments);
  options.profile = profile_of(arguments);
  set_recipe(arguments, options);
}

}  // namespace headrace::cli
