// headrace convert: a checkpoint becomes a new file.
#include <headrace/bytes.hpp>
#include <headrace/convert.hpp>

#include "cli/arguments.hpp"
#include "cli/commands.hpp"
#include "cli/dry_run.hpp"
#include "cli/inputs.hpp"
#include "cli/json.hpp"
#include "cli/progress_bar.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"
#include "cli/type_rules.hpp"
#include "cli/types.hpp"

#include <fmt/format.h>

#include <memory>
#include <vector>

namespace headrace::cli {
namespace {

struct Arguments {
  InputArguments inputs;
  std::string output;
  std::string type;
  std::string type_rules;
  std::string skip_list;
  std::vector<std::string> imatrix;
  std::string to;
  std::string architecture;
  std::string nonfinite;
  bool force = false;
  bool dry_run = false;
  JobArguments job;
};

ConvertOptions options_of(const Arguments& arguments) {
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
  if (!arguments.type.empty()) options.type = parse_target_type(arguments.type, "--type");
  options.type_rules = parse_type_rules(arguments.type_rules);
  options.skip_list = parse_skip_list(arguments.skip_list);
  parse_imatrix(arguments.imatrix, options);
  if (!arguments.architecture.empty()) options.architecture = arguments.architecture;
  options.nonfinite = parse_nonfinite(arguments.nonfinite);
  options.memory = parse_memory(arguments.job.memory);
  options.threads = parse_threads(arguments.job.threads);
  options.force = arguments.force;
  return options;
}

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

int run(const Arguments& arguments, Context& context) {
  const std::vector<Input> inputs = inputs_of(arguments.inputs);
  const Plan plan = plan_conversion(inputs, arguments.output, options_of(arguments));
  if (arguments.dry_run) {
    if (arguments.job.json) {
      print_plan_json(context.out, plan);
    } else {
      print_plan(context.out, plan);
    }
    return kOk;
  }

  if (!arguments.job.quiet) print_notes(plan);
  ProgressBar bar("converting", arguments.job.quiet);
  const ConvertReport report = [&] {
    const Signals::Job job(context.signals);
    return convert(plan, bar.callback(), job.token());
  }();
  bar.clear();
  if (!arguments.job.quiet) write_stderr(summary(plan, report));
  if (arguments.job.json) print_report(context.out, plan, report);
  return kOk;
}

constexpr const char* kExamples = R"(Examples:
  headrace convert model.safetensors -o model.gguf
  headrace convert model.safetensors -o model-q8_0.gguf --type q8_0 --memory 512MiB
  headrace convert model.safetensors -o model.gguf --type q4_0 --dry-run
  headrace convert model.gguf -o model.safetensors --type bf16
  headrace convert --diffusion-model flux.safetensors --clip-l clip_l.safetensors \
      --t5xxl t5xxl.safetensors --vae ae.safetensors -o all-in-one.gguf --type q8_0
  headrace convert model.safetensors -o model.gguf --type q4_0 \
      --tensor-type-rules "attn.*weight=q8_0,\.bias$=f32"

Several inputs make one file: the names of each component's tensors get its prefix where
they don't begin with it. Two tensors of one name are an error.
Rules are RE2 patterns searched for in the names of the output; the first that matches
decides, before --type, --skip-list and every default. A rule without a match is an error.
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
  command.add_option("-o,--output", arguments->output, "The file to write")->type_name("FILE");
  command.add_option("--type", arguments->type, "The type to convert to; this build can make\n" + available_types())
      ->type_name("NAME");
  command
      .add_option("--tensor-type-rules", arguments->type_rules,
                  "Types by name, comma-separated; the first match decides:\n\"REGEX=TYPE,REGEX=TYPE\"")
      ->type_name("RULES");
  command
      .add_option("--skip-list", arguments->skip_list,
                  "Tensors to leave as they are unless a rule names them: those\nthat stable-diffusion.cpp leaves, or "
                  "none, the default")
      ->type_name("sdcpp|none");
  command
      .add_option("--imatrix,--imat-in", arguments->imatrix,
                  "Weights to quantise by: none, the default (llama-quantize's bytes),\nones (stable-diffusion.cpp's), "
                  "or an importance matrix; several count as one")
      ->type_name("none|ones|FILE")
      ->allow_extra_args(false);
  command
      .add_option("--to", arguments->to, "The format to write, gguf or safetensors;\ndefault: by the output's suffix")
      ->type_name("FORMAT");
  command
      .add_option("--architecture", arguments->architecture,
                  "general.architecture of a GGUF output;\ndefault: the input's, where it has one")
      ->type_name("NAME");
  command
      .add_option(
          "--nonfinite", arguments->nonfinite,
          "Numbers the type can't hold (NaN, infinity, overflow): refuse,\nthe default, or keep what becomes of them")
      ->type_name("refuse|keep");
  command.add_flag("--force", arguments->force, "Replace an existing output");
  command.add_flag("--dry-run", arguments->dry_run, "Print what would be done, tensor by tensor; write nothing");
  add_job_options(command, arguments->job, "Print the report, the plan or the error as JSON on stdout");
  command.footer(kExamples);
  command.callback(
      [arguments, &action] { action = [arguments](Context& context) { return run(*arguments, context); }; });
}

}  // namespace headrace::cli
