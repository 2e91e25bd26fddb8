// Options of the tools that people come from, which are called something else here.
#pragma once

#include <CLI/CLI.hpp>

namespace headrace::cli {

/// Adds them, hidden: whoever types one is told its new name. Throws UsageError when the command line is read.
void add_old_spellings(CLI::App& command);

}  // namespace headrace::cli
