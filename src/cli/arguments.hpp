// The values of command-line options: read, checked, and explained when wrong.
#pragma once

#include <headrace/checkpoint.hpp>
#include <headrace/plan.hpp>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::cli {

/// The command line makes no sense: exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What every command that runs a job understands. Kept as text until the command runs, so that all wrong values are
/// explained in the same way.
struct JobArguments {
  std::string threads;
  std::string memory;
  bool json = false;
  bool quiet = false;
};

/// Adds --memory alone.
void add_memory_option(CLI::App& command, std::string& memory);
/// Adds -t/--threads, --memory, --json and -q/--quiet. `json_help` says what the JSON document holds.
void add_job_options(CLI::App& command, JobArguments& arguments, const std::string& json_help);

// Each takes the option's text; an empty one gives the default. Throws UsageError.
unsigned parse_threads(std::string_view text);
/// A number of `least` to `most`, the value of `option`; an empty text is no number.
std::uint64_t parse_count(std::string_view text, std::string_view option, std::uint64_t least, std::uint64_t most);
std::uint64_t parse_memory(std::string_view text);
double parse_max_rmse(std::string_view text);
Format parse_output_format(std::string_view text);
Nonfinite parse_nonfinite(std::string_view text);
/// "none", "ones", or files; sets the options' importance.
void parse_imatrix(const std::vector<std::string>& words, ConvertOptions& options);

}  // namespace headrace::cli
