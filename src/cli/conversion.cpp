#include "cli/conversion.hpp"

#include <headrace/bytes.hpp>

#include "cli/dry_run.hpp"
#include "cli/explain.hpp"
#include "cli/json.hpp"
#include "cli/progress_bar.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>
#include <vector>

#include <headrace/error.hpp>

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

std::uint64_t elements_of(const PlannedTensor& tensor) {
  return std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::uint64_t{1}, std::multiplies<>());
}

// What the conversion cost, for people.
void print_errors(Output& out, const Plan& plan, const ConvertReport& report) {
  constexpr std::array kColumns{Column{"tensor"},
                                Column{"from"},
                                Column{"to"},
                                Column{"relative RMSE", Align::right},
                                Column{"max error", Align::right},
                                Column{"cosine", Align::right}};
  print_table(out, kColumns, report.errors.size(), [&](std::size_t i, Row& row) {
    const TensorError& error = report.errors[i];
    const PlannedTensor tensor = plan[error.tensor];
    append_safe(row[0], tensor.name);
    row[1] = name(tensor.from);
    row[2] = name(tensor.to);
    row[3] = fmt::format("{:.4g}", error.relative_rmse);
    row[4] = fmt::format("{:.4g}", error.max_error);
    row[5] = fmt::format("{:.6f}", error.cosine);
  });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < plan.size(); ++i) kept += plan[i].from == plan[i].to ? 1 : 0;
  if (kept > 0) out.print("\n{} tensor{} their type\n", grouped(kept), kept == 1 ? " keeps" : "s keep");
}

void describe_errors(JsonDocument& document, const Plan& plan, const ConvertReport& report) {
  document.begin_list("errors");
  for (const TensorError& error : report.errors) {
    const PlannedTensor tensor = plan[error.tensor];
    document.element({{"name", tensor.name},
                      {"from", name(tensor.from)},
                      {"to", name(tensor.to)},
                      {"why", explain(tensor)},
                      {"elements", elements_of(tensor)},
                      {"bytes", tensor.bytes},
                      {"relative_rmse", error.relative_rmse},
                      {"max_error", error.max_error},
                      {"cosine", error.cosine}});
  }
  document.end_list();
}

void print_report(Output& out, const Plan& plan, const ConvertReport& report) {
  JsonDocument document(out);
  describe(document, plan);
  document.member("notes", Json(plan.notes()));
  document.member("bytes_read", report.bytes_read);
  document.member("bytes_written", report.bytes_written);
  document.member("seconds", report.seconds);
  document.member("peak_budget", report.peak_budget);
  if (plan.options().measure) describe_errors(document, plan, report);
  document.end();
}

// Throws for a report that would take the place of something that is read or written.
void require_own_place(const std::string& report, const Plan& plan, const ConversionArguments& arguments) {
  std::vector<std::filesystem::path> others = arguments.also_read;
  others.insert(others.end(), plan.options().imatrix_files.begin(), plan.options().imatrix_files.end());
  if (!plan.options().profile.empty()) others.emplace_back(plan.options().profile);
  others.push_back(plan.output());
  others.push_back(plan.output_index());
  for (std::size_t i = 0; i < plan.output_files(); ++i) others.push_back(plan.output_file(i));
  std::error_code ignored;
  const auto where = std::filesystem::weakly_canonical(report, ignored);
  const bool taken = std::ranges::any_of(others, [&](const std::filesystem::path& other) {
    return !other.empty() && (std::filesystem::equivalent(report, other, ignored) ||
                              std::filesystem::weakly_canonical(other, ignored) == where);
  });
  if (!taken && !plan.is_input(report)) return;
  throw Error(ErrorCode::conflict, "the report would replace what is read or made here",
              {.file = report, .hint = "choose another --report"});
}

// The report's file, opened before any work so that a bad place is found in time.
class ReportFile {
 public:
  explicit ReportFile(const std::string& path) : path_(path), temporary_(path + ".XXXXXX") {
    if (std::filesystem::is_directory(path_)) fail(EISDIR);
    // A device or a pipe is written to as it is; a file is replaced whole.
    const bool replace = !std::filesystem::exists(path_) || std::filesystem::is_regular_file(path_);
    if (!replace) temporary_ = path_;
    // A new file beside it, for one of any name we could think of may be there and be somebody's.
    file_ = replace ? ::mkostemp(temporary_.data(), O_CLOEXEC) : ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (file_ < 0) fail(errno);
    if (replace) ::fchmod(file_, 0644);
  }
  ~ReportFile() {
    if (file_ >= 0) ::close(file_);
    if (temporary_ != path_) ::unlink(temporary_.c_str());
  }
  ReportFile(const ReportFile&) = delete;
  ReportFile& operator=(const ReportFile&) = delete;

  void write(const Plan& plan, const ConvertReport& report) {
    try {
      Output out(file_, "the report");
      print_report(out, plan, report);
      out.flush();
    } catch (const Error& error) {
      throw Error(error.code(), error.problem(), {.file = path_});
    }
    if (temporary_ != path_ && ::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  }

 private:
  [[noreturn]] void fail(int reason) const {
    throw Error(ErrorCode::io, fmt::format("can't write the report: {}", std::strerror(reason)), {.file = path_});
  }

  std::string path_, temporary_;
  int file_ = -1;
};

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
  command.add_option("--explain", arguments.explain, "Print what becomes of one tensor and why; write nothing")
      ->type_name("NAME");
  add_job_options(command, arguments.job, "Print the report, the plan or the error as JSON on stdout");
}

void add_look_options(CLI::App& command, ConversionArguments& arguments) {
  command.add_flag(
      "--measure", arguments.measure,
      "Measure what conversion costs: relative RMSE, largest error and\ncosine of every tensor that changes");
  command.add_option("--report", arguments.report, "Write the report there, as JSON")->type_name("FILE");
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
  options.measure = arguments.measure;
  return options;
}

int run_conversion(const std::vector<Input>& inputs, const ConversionArguments& arguments,
                   const ConvertOptions& options, const char* doing, Context& context) {
  Plan plan = plan_conversion(inputs, arguments.output, options);
  if (arguments.explain) {
    print_explanation(context.out, plan, *arguments.explain, arguments.job.json);
    return kOk;
  }
  if (arguments.dry_run) {
    if (arguments.job.json) {
      print_plan_json(context.out, plan);
    } else {
      print_plan(context.out, plan);
    }
    return kOk;
  }

  std::optional<ReportFile> report_file;
  if (!arguments.report.empty()) {
    require_own_place(arguments.report, plan, arguments);
    report_file.emplace(arguments.report);
  }
  if (plan.unmeasured() > 0) {
    ProgressBar bar("measuring", arguments.job.quiet);
    const Signals::Job job(context.signals);
    plan = measure(plan, bar.callback(), job.token());
    bar.clear();
  }
  if (!arguments.job.quiet) print_notes(plan);
  ProgressBar bar(doing, arguments.job.quiet);
  const ConvertReport report = [&] {
    const Signals::Job job(context.signals);
    return convert(plan, bar.callback(), job.token());
  }();
  bar.clear();
  if (!arguments.job.quiet) write_stderr(summary(plan, report));
  if (report_file) report_file->write(plan, report);
  if (arguments.job.json) {
    print_report(context.out, plan, report);
  } else if (arguments.measure) {
    print_errors(context.out, plan, report);
  }
  return kOk;
}

}  // namespace headrace::cli
