#include "cli/load_options.hpp"

#include "cli/source_options.hpp"

#include <headrace/bytes.hpp>

#include <fmt/format.h>

#include <bit>
#include <filesystem>
#include <limits>

namespace headrace::cli {
namespace {

constexpr std::size_t kMostRuns = 1000;
constexpr std::uint64_t kLargestAlignment = std::uint64_t{1} << 30;

HostReads parse_host_reads(std::string_view text) {
  if (text.empty() || text == "auto") return HostReads::automatic;
  if (text == "mapped") return HostReads::mapped;
  if (text == "cached") return HostReads::cached;
  if (text == "direct") return HostReads::direct;
  throw UsageError(fmt::format("--host-reads: expected auto, mapped, cached or direct, found '{}'", text));
}

std::size_t parse_alignment(std::string_view text) {
  if (text.empty()) return 0;
  const std::optional<std::uint64_t> bytes = parse_bytes(text);
  if (bytes && *bytes <= kLargestAlignment && (*bytes == 0 || std::has_single_bit(*bytes))) return *bytes;
  throw UsageError(
      fmt::format("--alignment: expected a power of two up to 1GiB, such as 4096 or 2MiB, found '{}'", text));
}

// What it holds can be read again.
bool comes_once(const std::string& source) {
  std::error_code ignored;
  const auto kind = std::filesystem::status(source, ignored).type();
  using Kind = std::filesystem::file_type;
  return source == "-" || kind == Kind::fifo || kind == Kind::socket || kind == Kind::character;
}

void add_memory_options(CLI::App& command, LoadArguments& arguments) {
  command
      .add_option("--host-threshold", arguments.host_threshold,
                  "Tensors of fewer elements stay on the host; default 1000,\n0: none do")
      ->type_name("N");
  command.add_flag("--keep-host-copy", arguments.keep_host_copy, "Keep a copy on the host of what goes to the device");
  command.add_flag("--no-stream", arguments.no_stream,
                   "Gather all tensors on the host, and send them when the last has come");
  command
      .add_option("--host-reads", arguments.host_reads,
                  "How a file of this machine comes into the host's memory: mapped,\n"
                  "cached (through the system's cache), direct (past it), or auto,\n"
                  "the default: mapped, or cached where the system can't; to a device\n"
                  "direct where little is cached")
      ->type_name("auto|mapped|cached|direct");
  command
      .add_option("--alignment", arguments.alignment,
                  "Every tensor on the host begins at a multiple of this: 4096, 2MiB;\n"
                  "default 64, mapped ones at a multiple of their elements' size")
      ->type_name("SIZE");
  command.add_flag("--no-huge-pages", arguments.no_huge_pages, "Don't ask the system for huge pages on the host");
}

void add_measuring_options(CLI::App& command, LoadArguments& arguments) {
  command.add_option("--repeat", arguments.repeat, "Load so many times; each is shown, and the median")->type_name("N");
  command.add_flag("--cold", arguments.cold, "Have the system forget what it cached of the files, each time before");
  command.add_flag("--discard", arguments.discard,
                   "Drop each tensor as soon as it has come: for models that are\nlarger than the memory");
}

void add_outcome_options(CLI::App& command, LoadArguments& arguments) {
  command
      .add_option("--strict", arguments.strict,
                  "The names that are expected, one a line, or those of another\n"
                  "checkpoint; one that is missing or too many is an error")
      ->type_name("FILE");
  command.add_flag("--verify", arguments.verify,
                   "Read the source again, and compare every byte with what was\nloaded, on the device too");
  command.add_option("--save", arguments.save, "Write what was loaded to this file")->type_name("FILE");
  command.add_option("--to", arguments.to, "The format of that file, gguf or safetensors; default: by its suffix")
      ->type_name("FORMAT");
  command.add_flag("--force", arguments.force, "Replace an existing file");
}

}  // namespace

void add_load_options(CLI::App& command, LoadArguments& arguments) {
  command.add_option("SOURCE,-m,--model", arguments.source, "The checkpoint to load, as in convert; - is a stream")
      ->type_name("FILE");
  command
      .add_option("-d,--device", arguments.device, "host, the default, or opencl:0, cuda:0, ...: see headrace devices")
      ->type_name("NAME");
  add_source_options(command, arguments.opening);
  add_type_options(command, arguments.choice);
  command
      .add_option(
          "--nonfinite", arguments.nonfinite,
          "Numbers the type can't hold (NaN, infinity, overflow): refuse,\nthe default, or keep what becomes of them")
      ->type_name("refuse|keep");
  command.add_option("--component", arguments.component, "Only this part: vae, clip_l, ..., or a prefix; see extract")
      ->type_name("NAME");
  add_tensor_options(command, arguments.shaping);
  add_memory_options(command, arguments);
  add_measuring_options(command, arguments);
  add_outcome_options(command, arguments);
  add_job_options(command, arguments.job, "Print the result, or the error, as JSON on stdout");
}

std::size_t check(const LoadArguments& arguments) {
  if (arguments.source.empty()) throw UsageError("no source was given");
  const std::size_t times = arguments.repeat.empty() ? 1 : parse_count(arguments.repeat, "--repeat", 1, kMostRuns);
  if (comes_once(arguments.source)) {
    const char* again = times > 1 ? "--repeat" : arguments.verify ? "--verify" : arguments.cold ? "--cold" : nullptr;
    if (again != nullptr)
      throw UsageError(
          fmt::format("{} reads the source again, and '{}' can be read only once", again, arguments.source));
  }
  if (arguments.discard) {
    const char* lost = arguments.verify           ? "--verify"
                       : !arguments.save.empty()  ? "--save"
                       : arguments.keep_host_copy ? "--keep-host-copy"
                       : arguments.no_stream      ? "--no-stream"
                                                  : nullptr;
    if (lost != nullptr) throw UsageError(fmt::format("{} needs the tensors that --discard drops", lost));
  }
  if (arguments.save.empty() && (!arguments.to.empty() || arguments.force))
    throw UsageError("--to and --force are about the file that --save names");
  return times;
}

LoadOptions options_of(const LoadArguments& arguments) {
  LoadOptions options;
  options.stream_weights = !arguments.no_stream;
  if (!arguments.host_threshold.empty())
    options.host_threshold =
        parse_count(arguments.host_threshold, "--host-threshold", 0, std::numeric_limits<std::uint64_t>::max());
  options.keep_host_copy = arguments.keep_host_copy;
  options.type = type_of(arguments.choice);
  options.rules = rules_of(arguments.choice);
  options.shaping = shaping_of(arguments.shaping);
  options.shaping.component = arguments.component;
  options.nonfinite = parse_nonfinite(arguments.nonfinite);
  options.host_reads = parse_host_reads(arguments.host_reads);
  options.alignment = parse_alignment(arguments.alignment);
  options.huge_pages = !arguments.no_huge_pages;
  options.memory = parse_memory(arguments.job.memory);
  options.threads = parse_threads(arguments.job.threads);
  options.source = arguments.opening;
  return options;
}

std::optional<Format> save_format_of(const LoadArguments& arguments) {
  if (arguments.save.empty()) return std::nullopt;
  if (!arguments.to.empty()) return parse_output_format(arguments.to);
  if (const auto format = format_of_suffix(arguments.save)) return format;
  throw UsageError(fmt::format("'{}' ends neither in .gguf nor in .safetensors; say which with --to", arguments.save));
}

}  // namespace headrace::cli
