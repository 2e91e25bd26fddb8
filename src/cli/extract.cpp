// headrace extract: one component of an all-in-one checkpoint or a pipeline.
#include <headrace/convert.hpp>

#include "cli/commands.hpp"
#include "cli/conversion.hpp"
#include "cli/source_options.hpp"

#include <memory>

namespace headrace::cli {
namespace {

struct Arguments {
  std::string input, component;
  SourceOptions source;
  ConversionArguments conversion;
};

int run(const Arguments& arguments, Context& context) {
  if (arguments.input.empty()) throw UsageError("no input file was given");
  if (arguments.component.empty()) throw UsageError("which component? Say so with --component vae");
  ConvertOptions options = options_of(arguments.conversion);
  options.source = arguments.source;
  options.shaping.component = arguments.component;
  return run_conversion({{arguments.input}}, arguments.conversion, options, "extracting", context);
}

constexpr const char* kExamples = R"(Examples:
  headrace extract all-in-one.safetensors --component vae -o vae.safetensors
  headrace extract sd_xl_base_1.0.safetensors --component clip_g -o clip_g.safetensors
  headrace extract pipeline-folder --component diffusion_model -o transformer.safetensors

vae, diffusion_model, clip_l, clip_g, t5xxl and text_encoder are found under the prefixes that
stable-diffusion.cpp, the original checkpoints and diffusers give them; any other word is a
prefix itself. The prefix is taken off; every tensor keeps its bytes.
Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.)";

}  // namespace

void add_extract(CLI::App& app, Action& action) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *app.add_subcommand("extract", "Write one component of a checkpoint");
  command.add_option("INPUT,-m,--model", arguments->input, "The checkpoint to read, as in convert")->type_name("FILE");
  command.add_option("--component", arguments->component, "vae, diffusion_model, clip_l, clip_g, t5xxl, or a prefix")
      ->type_name("NAME");
  add_source_options(command, arguments->source);
  add_conversion_options(command, arguments->conversion);
  command.footer(kExamples);
  command.callback(
      [arguments, &action] { action = [arguments](Context& context) { return run(*arguments, context); }; });
}

}  // namespace headrace::cli
