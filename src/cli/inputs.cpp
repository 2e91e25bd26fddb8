#include "cli/inputs.hpp"

#include "cli/arguments.hpp"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <filesystem>

namespace headrace::cli {
namespace {

// An input that has an option of its own, and where its tensors go in an all-in-one file. Names, prefixes and order are
// stable-diffusion.cpp's.
struct Component {
  const char* flags;
  const char* what;
  const char* prefix;
};
constexpr std::array<Component, 5> kComponents = {{
    {"--clip-l,--clip_l", "The CLIP-L text encoder", "text_encoders.clip_l.transformer."},
    {"--clip-g,--clip_g", "The CLIP-G text encoder", "text_encoders.clip_g.transformer."},
    {"--t5xxl", "The T5-XXL text encoder", "text_encoders.t5xxl.transformer."},
    {"--diffusion-model,--diffusion_model", "The diffusion model alone", "model.diffusion_model."},
    {"--vae", "The VAE", "vae."},
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
  arguments.named.resize(kComponents.size());
  for (std::size_t i = 0; i < kComponents.size(); ++i) {
    const std::string help = fmt::format("{}; prefix\n'{}'", kComponents[i].what, kComponents[i].prefix);
    command.add_option(kComponents[i].flags, arguments.named[i], help)->type_name("FILE");
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
  for (std::size_t i = 0; i < kComponents.size(); ++i) {
    if (!arguments.named[i].empty()) inputs.push_back({arguments.named[i], kComponents[i].prefix});
  }
  for (const std::string& other : arguments.others) inputs.push_back(parse_component(other));
  if (inputs.empty()) throw UsageError("no input file was given");
  return inputs;
}

}  // namespace headrace::cli
