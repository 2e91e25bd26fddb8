// headrace split: one checkpoint becomes several files.
#include <headrace/convert.hpp>

#include "cli/commands.hpp"
#include "cli/conversion.hpp"
#include "cli/source_options.hpp"

#include <memory>

namespace headrace::cli {
namespace {

struct Arguments {
  std::string input;
  SourceOptions source;
  ConversionArguments conversion;
};

int run(const Arguments& arguments, Context& context) {
  if (arguments.input.empty()) throw UsageError("no input file was given");
  if (arguments.conversion.shard_size.empty())
    throw UsageError("how large may a file be? Say so with --shard-size 5GB");
  ConvertOptions options = options_of(arguments.conversion);
  options.source = arguments.source;
  return run_conversion({{arguments.input}}, arguments.conversion, options, "splitting", context);
}

constexpr const char* kExamples = R"(Examples:
  headrace split model.safetensors -o out/model.safetensors --shard-size 5GB
  headrace split model.gguf -o out/model.gguf --shard-size 2GB

Every tensor keeps its bytes. The files are out/model-00001-of-00003.safetensors and so on,
with out/model.safetensors.index.json; GGUF needs no index, its first part tells how many.
A tensor larger than the size has a file of its own. Files that are there are never replaced.
Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.)";

}  // namespace

void add_split(CLI::App& app, Action& action) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *app.add_subcommand("split", "Write a checkpoint as several files");
  command.add_option("INPUT,-m,--model", arguments->input, "The checkpoint to read, as in convert")->type_name("FILE");
  add_source_options(command, arguments->source);
  add_conversion_options(command, arguments->conversion);
  command.footer(kExamples);
  command.callback(
      [arguments, &action] { action = [arguments](Context& context) { return run(*arguments, context); }; });
}

}  // namespace headrace::cli
