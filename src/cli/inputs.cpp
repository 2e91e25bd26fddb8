#include "cli/inputs.hpp"

#include "cli/arguments.hpp"

#include <headrace/components.hpp>

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <string>

namespace headrace::cli {
namespace {

// The options of the components that have one of their own, in the order of all_components().
struct ComponentOption {
  const char* flags;
  const char* what;
};
constexpr std::array<ComponentOption, 5> kOptions = {{
    {"--clip-l,--clip_l", "The CLIP-L text encoder"},
    {"--clip-g,--clip_g", "The CLIP-G text encoder"},
    {"--t5xxl", "The T5-XXL text encoder"},
    {"--diffusion-model,--diffusion_model", "The diffusion model alone"},
    {"--vae", "The VAE"},
}};

Input parse_component(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == text.npos || equals + 1 == text.size())
    throw UsageError(fmt::format("--component: expected PREFIX=FILE, such as vae.=ae.safetensors, found '{}'", text));
  return {text.substr(equals + 1), text.substr(0, equals)};
}

}  // namespace

void add_input_options(CLI::App& command, InputArguments& arguments) {
  command
      .add_option("INPUT,-m,--model", arguments.models,
                  "What to read: safetensors, GGUF, PyTorch, TensorFlow.js or NumPy;\n"
                  "an index of shards, a folder, https://..., hf://owner/repo/file,\n"
                  "or - for the standard input; several make one")
      ->type_name("FILE");
  arguments.named.resize(kOptions.size());
  for (std::size_t i = 0; i < kOptions.size(); ++i) {
    const std::string help = fmt::format("{}; prefix\n'{}'", kOptions[i].what, all_components()[i].prefix);
    command.add_option(kOptions[i].flags, arguments.named[i], help)->type_name("FILE");
  }
  command.add_option("--component", arguments.others, "Any other input and its prefix; may be given again")
      ->type_name("PREFIX=FILE")
      ->allow_extra_args(false);
}

std::vector<Input> inputs_of(const InputArguments& arguments) {
  std::vector<Input> inputs;
  for (const std::string& model : arguments.models) {
    std::error_code ignored;
    if (parse_recipe(model) && !std::filesystem::exists(model, ignored))
      throw UsageError(
          fmt::format("'{}' is no input; a recipe is chosen with --recipe {}, and the output named with -o FILE", model,
                      name(*parse_recipe(model))));
    inputs.push_back({model});
  }
  for (std::size_t i = 0; i < kOptions.size(); ++i) {
    if (!arguments.named[i].empty()) inputs.push_back({arguments.named[i], std::string(all_components()[i].prefix)});
  }
  for (const std::string& other : arguments.others) inputs.push_back(parse_component(other));
  if (inputs.empty()) throw UsageError("no input file was given");
  return inputs;
}

}  // namespace headrace::cli
