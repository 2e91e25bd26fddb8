// headrace verify: are two checkpoints the same?
#include <headrace/verify.hpp>

#include "cli/arguments.hpp"
#include "cli/commands.hpp"
#include "cli/progress_bar.hpp"
#include "cli/source_options.hpp"
#include "cli/verdict.hpp"

#include <algorithm>
#include <memory>

namespace headrace::cli {
namespace {

struct Arguments {
  std::string first;
  std::string second;
  std::string max_rmse;
  SourceOptions source;
  bool tensors = false;
  JobArguments job;
};

VerifyReport compare(Arguments& arguments, const VerifyOptions& options, Context& context) {
  const Checkpoint first = Checkpoint::open(arguments.first, {options.memory, arguments.source});
  arguments.first = first.location();  // without credentials
  const std::uint64_t left = options.memory - std::min(options.memory, first.memory());
  const Checkpoint second = Checkpoint::open(arguments.second, {left, arguments.source});
  arguments.second = second.location();
  ProgressBar bar("verifying", arguments.job.quiet);
  const Signals::Job job(context.signals);
  return verify(first, second, options, bar.callback(), job.token());
}

int run(Arguments arguments, Context& context) {
  if (arguments.first.empty() || arguments.second.empty()) throw UsageError("two files are needed");
  std::optional<double> max_rmse;
  if (!arguments.max_rmse.empty()) max_rmse = parse_max_rmse(arguments.max_rmse);
  const VerifyOptions options{.memory = parse_memory(arguments.job.memory),
                              .threads = parse_threads(arguments.job.threads)};

  const VerifyReport report = compare(arguments, options, context);
  const Verdict verdict = judge(report, max_rmse);
  if (arguments.job.json) {
    print_verdict_json(context.out, {arguments.first, arguments.second}, report, verdict, arguments.tensors);
  } else {
    print_verdict(context.out, report, verdict, arguments.tensors);
  }
  return verdict.good() ? kOk : kFailed;
}

constexpr const char* kExamples = R"(Examples:
  headrace verify model.safetensors model.gguf
  headrace verify model.safetensors model-q8_0.gguf --max-rmse 0.01
  headrace verify a.gguf b.gguf --max-rmse 0 --tensors

A is taken as the truth. Both are decoded to numbers, so formats and types may differ.
  max error      the largest |a - b|; infinite where only one side is NaN or infinite
  relative RMSE  sqrt(sum of (a - b)^2 / sum of a^2) of a tensor
Other numbers alone are no failure: a quantised copy always has some. Give a limit with
--max-rmse to make them one; with --max-rmse 0 every number must be equal. A limit also
fails tensors where only one side is NaN or infinite.
In JSON a figure that isn't finite is null.
Exit status: 0 every tensor is on both sides with one shape, and within the limit if one
was given; 1 otherwise, or when a file can't be read; 2 wrong usage; 130 interrupted.)";

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *app.add_subcommand("verify", "Compare two checkpoints, tensor by tensor");
  command.add_option("A", arguments->first, "The checkpoint that is right")->type_name("FILE");
  command.add_option("B", arguments->second, "The checkpoint to check")->type_name("FILE");
  command.add_option("--max-rmse", arguments->max_rmse, "The relative RMSE that a tensor may have")->type_name("X");
  command.add_flag("--tensors", arguments->tensors, "List all tensors, not only those that differ");
  add_source_options(command, arguments->source);
  add_job_options(command, arguments->job, "Print the result, or the error, as JSON on stdout");
  command.footer(kExamples);
  command.callback(
      [arguments, &action] { action = [arguments](Context& context) { return run(*arguments, context); }; });
}

}  // namespace headrace::cli
