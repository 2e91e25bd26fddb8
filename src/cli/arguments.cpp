#include "cli/arguments.hpp"

#include <headrace/bytes.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace headrace::cli {
namespace {

constexpr unsigned kMostThreads = 1024;

// The whole text as a number.
template <typename T>
bool read_number(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

void add_memory_option(CLI::App& command, std::string& memory) {
  command
      .add_option("--memory", memory,
                  fmt::format("Memory to stay within, as in 64MiB, 1G, 512k; default {}MiB", kDefaultMemory >> 20))
      ->type_name("SIZE");
}

void add_job_options(CLI::App& command, JobArguments& arguments, const std::string& json_help) {
  command.add_option("-t,--threads", arguments.threads, "Worker threads; 0, the default, is one per core")
      ->type_name("N");
  add_memory_option(command, arguments.memory);
  command.add_flag("--json", arguments.json, json_help);
  command.add_flag("-q,--quiet", arguments.quiet, "No progress, notes or summary on stderr; errors still show");
}

unsigned parse_threads(std::string_view text) {
  return text.empty() ? 0 : static_cast<unsigned>(parse_count(text, "--threads", 0, kMostThreads));
}

std::uint64_t parse_count(std::string_view text, std::string_view option, std::uint64_t least, std::uint64_t most) {
  std::uint64_t number = 0;
  if (!read_number(text, number) || number < least || number > most)
    throw UsageError(fmt::format("{}: expected a number from {} to {}, found '{}'", option, least, most, text));
  return number;
}

std::uint64_t parse_memory(std::string_view text) {
  if (text.empty()) return kDefaultMemory;
  const std::optional<std::uint64_t> bytes = parse_bytes(text);
  if (!bytes || *bytes == 0) {
    throw UsageError(fmt::format("--memory: expected a size such as 64MiB, 1G or 512k, found '{}'", text));
  }
  return *bytes;
}

double parse_max_rmse(std::string_view text) {
  double limit = 0;
  if (!read_number(text, limit) || !std::isfinite(limit) || limit < 0) {
    throw UsageError(fmt::format("--max-rmse: expected a number such as 0 or 0.01, found '{}'", text));
  }
  return limit;
}

Format parse_output_format(std::string_view text) {
  const std::optional<Format> format = parse_format(text);
  if (!format || !can_write(*format))
    throw UsageError(fmt::format("--to: expected gguf or safetensors, found '{}'", text));
  return *format;
}

Nonfinite parse_nonfinite(std::string_view text) {
  if (text.empty() || text == "refuse") return Nonfinite::refuse;
  if (text == "keep") return Nonfinite::keep;
  throw UsageError(fmt::format("--nonfinite: expected refuse or keep, found '{}'", text));
}

void parse_imatrix(const std::vector<std::string>& words, ConvertOptions& options) {
  for (const std::string& word : words) {
    const bool named = word == "none" || word == "ones";
    if (word.empty()) throw UsageError("--imatrix: expected none, ones or a file");
    if (named && words.size() > 1)
      throw UsageError(fmt::format("--imatrix: '{}' stands alone (for a file, write ./{})", word, word));
    if (word == "ones") options.importance = Importance::ones;
    if (named) continue;
    options.importance = Importance::file;
    options.imatrix_files.emplace_back(word);
  }
}

}  // namespace headrace::cli
