// The subcommands: each adds its options to the command line and, when it is the one given, says what to run.
#pragma once

#include "cli/output.hpp"
#include "cli/signals.hpp"

#include <CLI/CLI.hpp>
#include <functional>

namespace headrace::cli {

/// Exit statuses; an interrupted command ends with kInterrupted.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;

/// What a running command works with.
struct Context {
  Output& out;  ///< results
  Signals& signals;
};

/// Runs the command and gives its exit status.
using Action = std::function<int(Context&)>;

// Each adds a subcommand that stores what it would run in `action`, which must outlive `app`.
void add_convert(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_split(CLI::App& app, Action& action);
void add_merge(CLI::App& app, Action& action);
void add_extract(CLI::App& app, Action& action);
void add_load(CLI::App& app, Action& action);
void add_devices(CLI::App& app, Action& action);

}  // namespace headrace::cli
