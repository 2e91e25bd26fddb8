#include "cli/conversion.hpp"

#include <headrace/bytes.hpp>

#include "cli/dry_run.hpp"
#include "cli/json.hpp"
#include "cli/progress_bar.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"

#include <fmt/format.h>

namespace headrace::cli {
namespace {

void print_notes(const Plan& plan) {
  std::string text;
  for (const std::string& note : plan.notes()) {
    text += "headrace: note: ";
    append_safe(text, note);
    text += '\n';
  }
  write_stderr(text);
}

std::string summary(const Plan& plan, const ConvertReport& report) {
  std::string text = "headrace: wrote ";
  append_safe(text, plan.output().string());
  if (plan.output_files() > 1) text += fmt::format(" in {} files", plan.output_files());
  text += ": " + format_bytes(report.bytes_written);
  if (plan.source_bytes() != 0) {
    text += fmt::format(" from {} ({:.3g} of the size)", format_bytes(plan.source_bytes()),
                        static_cast<double>(report.bytes_written) / static_cast<double>(plan.source_bytes()));
  }
  text += " in " + duration(report.seconds);
  const double gigabytes = static_cast<double>(report.bytes_read) / 1e9;
  if (report.seconds > 0) text += fmt::format(", {:.2f} GB/s", gigabytes / report.seconds);
  return text + "\n";
}

void print_report(Output& out, const Plan& plan, const ConvertReport& report) {
  JsonDocument document(out);
  describe(document, plan);
  document.member("notes", Json(plan.notes()));
  document.member("bytes_read", report.bytes_read);
  document.member("bytes_written", report.bytes_written);
  document.member("seconds", report.seconds);
  document.member("peak_budget", report.peak_budget);
  document.end();
}

}  // namespace

void add_conversion_options(CLI::App& command, ConversionArguments& arguments) {
  command.add_option("-o,--output", arguments.output, "The file to write")->type_name("FILE");
  command
      .add_option("--to", arguments.to, "The format to write, gguf or safetensors;\ndefault: by the output's suffix")
      ->type_name("FORMAT");
  command
      .add_option("--shard-size", arguments.shard_size,
                  "Write several files, each with at most so many bytes of tensors: 5GB.\n"
                  "They are named model-00001-of-00003.*; safetensors get an index")
      ->type_name("SIZE");
  command.add_flag("--force", arguments.force, "Replace an existing output; a set of several files never is");
  command.add_flag("--dry-run", arguments.dry_run, "Print what would be done, tensor by tensor; write nothing");
  add_job_options(command, arguments.job, "Print the report, the plan or the error as JSON on stdout");
}

ConvertOptions options_of(const ConversionArguments& arguments) {
  if (arguments.output.empty()) throw UsageError("no output file was given; name it with -o FILE");
  ConvertOptions options;
  if (!arguments.to.empty()) {
    options.to = parse_output_format(arguments.to);
  } else if (!format_of_suffix(arguments.output)) {
    throw UsageError(
        fmt::format("'{}' ends neither in .gguf nor in .safetensors; say which with --to gguf or "
                    "--to safetensors",
                    arguments.output));
  }
  if (!arguments.shard_size.empty()) {
    options.shard_size = parse_bytes(arguments.shard_size);
    if (!options.shard_size || *options.shard_size == 0)
      throw UsageError(fmt::format("--shard-size: expected a size such as 5GB, found '{}'", arguments.shard_size));
  }
  options.memory = parse_memory(arguments.job.memory);
  options.threads = parse_threads(arguments.job.threads);
  options.force = arguments.force;
  return options;
}

int run_conversion(const std::vector<Input>& inputs, const ConversionArguments& arguments,
                   const ConvertOptions& options, const char* doing, Context& context) {
  const Plan plan = plan_conversion(inputs, arguments.output, options);
  if (arguments.dry_run) {
    if (arguments.job.json) {
      print_plan_json(context.out, plan);
    } else {
      print_plan(context.out, plan);
    }
    return kOk;
  }

  if (!arguments.job.quiet) print_notes(plan);
  ProgressBar bar(doing, arguments.job.quiet);
  const ConvertReport report = [&] {
    const Signals::Job job(context.signals);
    return convert(plan, bar.callback(), job.token());
  }();
  bar.clear();
  if (!arguments.job.quiet) write_stderr(summary(plan, report));
  if (arguments.job.json) print_report(context.out, plan, report);
  return kOk;
}

}  // namespace headrace::cli
