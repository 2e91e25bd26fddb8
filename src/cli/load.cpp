// headrace load: the weights of a checkpoint in a device's memory, or the host's, and what that took.
#include <headrace/error.hpp>
#include <headrace/load.hpp>
#include <headrace/page_cache.hpp>

#include "cli/commands.hpp"
#include "cli/expected_names.hpp"
#include "cli/load_check.hpp"
#include "cli/load_options.hpp"
#include "cli/load_report.hpp"
#include "cli/memory_peak.hpp"
#include "cli/progress_bar.hpp"
#include "cli/text.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace headrace::cli {
namespace {

// Found before any work: the file to save is there and may not be replaced, or is what is loaded.
void require_own_place(const LoadArguments& arguments, const LoadOptions& options) {
  const std::filesystem::path place = arguments.save;
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(place, ignored))) return;
  if (!arguments.force)
    throw Error(ErrorCode::conflict, "the output exists",
                {.file = place.string(), .hint = "choose another name, or replace it with --force"});
  if (!std::filesystem::is_regular_file(arguments.source, ignored) &&
      !std::filesystem::is_directory(arguments.source, ignored))
    return;
  const Checkpoint source = Checkpoint::open(arguments.source, {options.memory, options.source});
  bool is_input = std::filesystem::equivalent(arguments.source, place, ignored);
  for (std::size_t i = 0; i < source.files(); ++i)
    is_input = is_input || std::filesystem::equivalent(source.file(i), place, ignored);
  if (is_input)
    throw Error(ErrorCode::conflict, "the output is what is loaded, perhaps through a link", {.file = place.string()});
}

// Better said when the first tensor comes than when the last has.
void require_on_host(const LoadedTensor& tensor, const LoadArguments& arguments) {
  if (arguments.save.empty() || tensor.host_bytes().size() == tensor.bytes()) return;
  throw Error(ErrorCode::unsupported, "these weights are streamed to a device, and the host has no copy to save",
              {.file = arguments.save,
               .tensor = safe(tensor.name),
               .found = "on " + tensor.buffer.device()->name(),
               .hint = "add --keep-host-copy, or use headrace convert"});
}

double forget_cached(const LoadArguments& arguments, const LoadOptions& options) {
  const Checkpoint checkpoint = Checkpoint::open(arguments.source, {options.memory, options.source});
  if (!drop_cached(checkpoint)) throw UsageError("--cold: only files of this machine are cached by its system");
  return cached_share(checkpoint).value_or(0);
}

/// Loads, or moves through, once and again.
class Loading {
 public:
  Loading(const LoadArguments& arguments, LoadOptions options, LoadOutcome& outcome)
      : arguments_(arguments), options_(std::move(options)), outcome_(outcome) {}

  /// What was loaded; nothing when it was discarded.
  std::optional<Weights> run(std::size_t times) {
    std::optional<Weights> weights;
    for (std::size_t i = 0; i < times; ++i) {
      weights.reset();  // before the next ones come
      outcome_.left.clear();
      run_ = {};
      if (arguments_.cold) run_.cached = forget_cached(arguments_, options_);
      reset_memory_peak();
      ProgressBar bar("loading", arguments_.job.quiet);
      options_.on_progress = bar.callback();
      if (arguments_.discard) {
        discard();
      } else {
        weights = load();
      }
      run_.peak_memory = memory_peak();
      outcome_.runs.push_back(run_);
    }
    std::ranges::stable_sort(outcome_.left, std::ranges::greater(), &LeftOnHost::bytes);
    return weights;
  }

 private:
  void look_at(const LoadedTensor& tensor) {
    require_on_host(tensor, arguments_);
    run_.host_copy_bytes += tensor.host_copy.bytes();
    if (tensor.on_host() && outcome_.device->kind() != DeviceKind::host)
      outcome_.left.push_back({tensor.name, tensor.bytes()});
  }

  Weights load() {
    options_.on_tensor = [this](const std::string&, const LoadedTensor& tensor) { look_at(tensor); };
    Weights weights = headrace::load(arguments_.source, outcome_.device, options_);
    outcome_.source = weights.location();
    run_.report = weights.report();
    return weights;
  }

  void discard() {
    WeightStream tensors = stream(arguments_.source, outcome_.device, options_);
    outcome_.source = tensors.location();
    while (const auto tensor = tensors.next()) look_at(*tensor);
    run_.report = tensors.report();
  }

  const LoadArguments& arguments_;
  LoadOptions options_;
  LoadOutcome& outcome_;
  LoadRun run_;
};

void verify(const Weights& weights, const LoadArguments& arguments, LoadOptions options, LoadOutcome& outcome) {
  ProgressBar bar("verifying", arguments.job.quiet);
  options.on_progress = bar.callback();
  outcome.verified = compare_with_source(weights, arguments.source, options);
}

int run(const LoadArguments& arguments, Context& context) {
  const std::size_t times = check(arguments);
  const std::optional<Format> save_format = save_format_of(arguments);
  LoadOptions options = options_of(arguments);
  LoadOutcome outcome;
  outcome.device = open_device(arguments.device);
  outcome.memory = options.memory;
  outcome.streamed = options.stream_weights;
  outcome.discarded = arguments.discard;

  std::optional<Weights> weights;
  {
    const Signals::Job job(context.signals);
    options.source.cancel = job.token();
    if (save_format) require_own_place(arguments, options);
    if (!arguments.strict.empty()) options.strict = expected_names(arguments.strict, {options.memory, options.source});
    weights = Loading(arguments, options, outcome).run(times);
    if (arguments.verify) verify(*weights, arguments, options, outcome);
  }
  if (save_format) {  // no job: a signal ends the process, which leaves no file
    weights->save(arguments.save, {.to = save_format,
                                   .force = arguments.force,
                                   .nonfinite = options.nonfinite,
                                   .memory = options.memory,
                                   .threads = options.threads});
    outcome.saved = arguments.save;
  }
  arguments.job.json ? print_load_json(context.out, outcome) : print_load(context.out, outcome);
  return kOk;
}

constexpr const char* kExamples = R"(Examples:
  headrace load model.safetensors
  headrace load model.safetensors --device opencl:0 --verify
  headrace load model.safetensors --device cuda:0 --type bf16 --repeat 5 --cold
  curl -L https://example.org/model.safetensors | headrace load - --device cuda:0
  headrace load model.gguf --device cuda:0 --discard --memory 64MiB
  headrace load model.safetensors --strict names.txt --host-reads direct
  headrace load model.safetensors --type f16 --save half.safetensors

Loads a checkpoint as a program would that uses the library, and shows what that took: the time to
the first tensor and to the last, bytes of the source a second, the most memory of the host that this
process held (VmHWM) and how much of that was not for tensors there, the most of --memory that was
held at once, and where the tensors are. A device whose memory is the host's, as an OpenCL driver
for processors has it, counts as memory of the host beyond the tensors.
--memory is for what is on its way; the tensors themselves come on top.
Tensors that are mapped (--host-reads auto, mapped) are pages of the file, and are loaded by being
touched: verify them, or read them cached or direct, to see what that takes.
--verify compares with the file's own bytes where a tensor is as it is there, else with what is made
of it a second time, on the host.
--cold has no effect on files that lie in memory (tmpfs); the share that was still cached is shown.
Exit status: 0 done; 1 failed, or something differs; 2 wrong usage; 130 interrupted.)";

}  // namespace

void add_load(CLI::App& app, Action& action) {
  const auto arguments = std::make_shared<LoadArguments>();
  CLI::App& command = *app.add_subcommand("load", "Load a checkpoint to a device's memory, and measure that");
  add_load_options(command, *arguments);
  command.footer(kExamples);
  command.callback(
      [arguments, &action] { action = [arguments](Context& context) { return run(*arguments, context); }; });
}

}  // namespace headrace::cli
