// What convert, split and merge have in common: a plan, shown or carried out.
#pragma once

#include <headrace/convert.hpp>

#include "cli/arguments.hpp"
#include "cli/commands.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::cli {

/// How a conversion is asked for, beside its options.
struct ConversionArguments {
  std::string output;
  std::string to;
  std::string shard_size;
  bool force = false;
  bool dry_run = false;
  std::optional<std::string> explain;  // a tensor's name
  bool measure = false;
  std::string report;                                 // a file
  std::vector<std::filesystem::path> also_read = {};  // files that the options were read from
  JobArguments job;
};

/// Adds -o/--output, --to, --shard-size, --force, --dry-run, --explain and the job's options.
void add_conversion_options(CLI::App& command, ConversionArguments& arguments);

/// Adds --measure and --report.
void add_look_options(CLI::App& command, ConversionArguments& arguments);

/// The part of the options that these arguments say. Throws UsageError.
ConvertOptions options_of(const ConversionArguments& arguments);

/// Plans, then prints the plan or carries it out. `doing`: "converting".
int run_conversion(const std::vector<Input>& inputs, const ConversionArguments& arguments,
                   const ConvertOptions& options, const char* doing, Context& context);

}  // namespace headrace::cli
