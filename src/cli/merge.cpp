// headrace merge: a checkpoint in several files becomes one.
#include <headrace/convert.hpp>

#include "cli/commands.hpp"
#include "cli/conversion.hpp"
#include "cli/source_options.hpp"

#include <memory>
#include <vector>

namespace headrace::cli {
namespace {

struct Arguments {
  std::vector<std::string> inputs;
  SourceOptions source;
  ConversionArguments conversion;
};

int run(const Arguments& arguments, Context& context) {
  if (arguments.inputs.empty()) throw UsageError("no input file was given");
  ConvertOptions options = options_of(arguments.conversion);
  options.source = arguments.source;
  std::vector<Input> inputs;
  for (const std::string& input : arguments.inputs) inputs.push_back({input});
  return run_conversion(inputs, arguments.conversion, options, "merging", context);
}

constexpr const char* kExamples = R"(Examples:
  headrace merge model.safetensors.index.json -o model.safetensors
  headrace merge model-00001-of-00003.gguf -o model.gguf
  headrace merge unet.safetensors vae.safetensors -o both.safetensors

An index, a folder or any part of a split GGUF stands for its whole set. Every tensor keeps
its bytes; two tensors of one name are an error.
Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.)";

}  // namespace

void add_merge(CLI::App& app, Action& action) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *app.add_subcommand("merge", "Write a checkpoint that lies in several files as one");
  command.add_option("INPUT,-m,--model", arguments->inputs, "What to read, as in convert; several become one")
      ->type_name("FILE");
  add_source_options(command, arguments->source);
  add_conversion_options(command, arguments->conversion);
  command.footer(kExamples);
  command.callback(
      [arguments, &action] { action = [arguments](Context& context) { return run(*arguments, context); }; });
}

}  // namespace headrace::cli
