// What `headrace load` understands.
#pragma once

#include <headrace/load.hpp>

#include "cli/arguments.hpp"
#include "cli/choice_options.hpp"
#include "cli/shaping_options.hpp"

#include <CLI/CLI.hpp>
#include <cstddef>
#include <optional>
#include <string>

namespace headrace::cli {

/// As they were typed.
struct LoadArguments {
  std::string source, device = "host";
  SourceOptions opening;
  ChoiceArguments choice;
  ShapingArguments shaping;
  std::string component, nonfinite;
  std::string host_threshold, host_reads, alignment;
  bool keep_host_copy = false, no_stream = false, no_huge_pages = false;
  std::string strict;  // a file of names, or a checkpoint
  std::string repeat;
  bool cold = false, discard = false, verify = false;
  std::string save, to;
  bool force = false;
  JobArguments job;
};

/// Adds SOURCE and all options. `arguments` must outlive the command.
void add_load_options(CLI::App& command, LoadArguments& arguments);

/// How often it is loaded. Throws UsageError, also for options that contradict each other.
std::size_t check(const LoadArguments& arguments);

/// What the library is told, less `strict` and the callbacks. Throws UsageError, Error (see the options' own parsers).
LoadOptions options_of(const LoadArguments& arguments);

/// The format of the file to save; nothing when none is. Throws UsageError.
std::optional<Format> save_format_of(const LoadArguments& arguments);

}  // namespace headrace::cli
