// headrace convert: a checkpoint becomes a new file.
#include <headrace/convert.hpp>

#include "cli/arguments.hpp"
#include "cli/choice_options.hpp"
#include "cli/commands.hpp"
#include "cli/conversion.hpp"
#include "cli/inputs.hpp"
#include "cli/old_spellings.hpp"
#include "cli/shaping_options.hpp"
#include "cli/source_options.hpp"

#include <memory>
#include <string>
#include <vector>

namespace headrace::cli {
namespace {

struct Arguments {
  InputArguments inputs;
  SourceOptions source;
  ConversionArguments conversion;
  ChoiceArguments choice;
  ShapingArguments shaping;
  std::vector<std::string> imatrix, include_weights, exclude_weights;
  std::string architecture;
  std::string nonfinite;
};

int run(const Arguments& arguments, Context& context) {
  const std::vector<Input> inputs = inputs_of(arguments.inputs);
  ConvertOptions options = options_of(arguments.conversion);
  set_choice(arguments.choice, options);
  set_shaping(arguments.shaping, options);
  parse_imatrix(arguments.imatrix, options);
  if (!arguments.include_weights.empty() && !arguments.exclude_weights.empty())
    throw UsageError("--include-weights and --exclude-weights are two ways to say one thing; give one of them");
  options.imatrix_include = arguments.include_weights;
  options.imatrix_exclude = arguments.exclude_weights;
  if (!arguments.architecture.empty()) options.architecture = arguments.architecture;
  options.nonfinite = parse_nonfinite(arguments.nonfinite);
  options.source = arguments.source;
  ConversionArguments conversion = arguments.conversion;
  conversion.also_read.assign(arguments.choice.rule_files.begin(), arguments.choice.rule_files.end());
  return run_conversion(inputs, conversion, options, "converting", context);
}

constexpr const char* kExamples = R"(Examples:
  headrace convert model.safetensors -o model.gguf
  headrace convert model.safetensors -o model-q8_0.gguf --type q8_0 --memory 512MiB
  headrace convert model.safetensors -o model.gguf --type q4_0 --dry-run
  headrace convert model.gguf -o model.safetensors --type bf16
  headrace convert https://example.org/model.safetensors -o model-q8_0.gguf --type q8_0
  curl -L https://example.org/model.gguf | headrace convert - -o model.safetensors
  headrace convert pytorch_model.bin -o model.safetensors --shard-size 5GB
  headrace convert --diffusion-model flux.safetensors --clip-l clip_l.safetensors \
      --t5xxl t5xxl.safetensors --vae ae.safetensors -o all-in-one.gguf --type q8_0
  headrace convert flux1-dev.safetensors -o flux.gguf --for comfyui --type q4_K
  headrace convert llama-f16.gguf -o llama.gguf --recipe Q4_K_M --imatrix imatrix.gguf
  headrace convert model.safetensors -o model.gguf --type q4_K --rule 'attn.*weight=q8_0' \
      --rule 'ffn=rmse:0.02' --measure --report report.json
  headrace convert model.safetensors -o model.gguf --type q4_K --explain blocks.0.attn.weight

Several inputs make one file: the names of each component's tensors get its prefix where
they don't begin with it. Two tensors of one name are an error.
Rules are RE2 patterns searched for in the names of the output; the first that matches
decides, before --type, --recipe, --for and every default. A rule without a match is an error.
--imatrix matters to q4_0 … q5_1, q2_K … q6_K, iq4_nl and iq4_xs.
Without --type every tensor keeps its own type. Tensors that can't take the type asked
for are named by --dry-run, with the reason.
Sizes: K, M, G and KiB, MiB, GiB are powers of 1024; KB, MB, GB powers of 1000.
Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. A conversion that fails or
is interrupted leaves no output behind, and an output that was there before as it was.)";

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *app.add_subcommand("convert", "Write a checkpoint as another format or type");
  add_input_options(command, arguments->inputs);
  add_source_options(command, arguments->source);
  add_choice_options(command, arguments->choice);
  add_shaping_options(command, arguments->shaping);
  command
      .add_option("--imatrix,--imat-in", arguments->imatrix,
                  "Weights to quantise by: none, the default (llama-quantize's bytes),\nones (stable-diffusion.cpp's), "
                  "or an importance matrix; several count as one")
      ->type_name("none|ones|FILE")
      ->allow_extra_args(false);
  command.add_option("--include-weights", arguments->include_weights, "Weigh only tensors whose name holds this")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command.add_option("--exclude-weights", arguments->exclude_weights, "Weigh no tensor whose name holds this")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command
      .add_option("--architecture", arguments->architecture,
                  "general.architecture of a GGUF output;\ndefault: the input's, where it has one")
      ->type_name("NAME");
  command
      .add_option(
          "--nonfinite", arguments->nonfinite,
          "Numbers the type can't hold (NaN, infinity, overflow): refuse,\nthe default, or keep what becomes of them")
      ->type_name("refuse|keep");
  add_conversion_options(command, arguments->conversion);
  add_look_options(command, arguments->conversion);
  add_old_spellings(command);
  command.footer(kExamples);
  command.callback(
      [arguments, &action] { action = [arguments](Context& context) { return run(*arguments, context); }; });
}

}  // namespace headrace::cli
