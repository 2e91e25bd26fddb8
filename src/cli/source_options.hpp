// Options that say how an input is opened.
#pragma once

#include <headrace/source.hpp>

#include <CLI/CLI.hpp>

namespace headrace::cli {

/// Adds --torch-key, --variant, --header, --connections and --weight-path-prefix. `options` must outlive the command.
void add_source_options(CLI::App& command, SourceOptions& options);

}  // namespace headrace::cli
