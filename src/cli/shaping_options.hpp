// Options that say which tensors come into an output, and under which names.
#pragma once

#include <headrace/plan.hpp>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

namespace headrace::cli {

/// As they were typed.
struct ShapingArguments {
  std::vector<std::string> select, drop, strip_prefixes, renames, concats, splits, metadata;
  std::string prefix, prefer;
  std::optional<std::string> prune_layers;
};

/// Adds --select, --drop, --strip-prefix, --rename, --prefix, --split, --concat and --prune-layers: all there is for
/// one input and no file to write. `arguments` must outlive the command.
void add_tensor_options(CLI::App& command, ShapingArguments& arguments);
/// Adds these, --prefer and --override-kv.
void add_shaping_options(CLI::App& command, ShapingArguments& arguments);

/// Throws UsageError, Error(invalid_argument).
Shaping shaping_of(const ShapingArguments& arguments);
/// Sets the options' shaping and metadata. Throws UsageError, Error(invalid_argument).
void set_shaping(const ShapingArguments& arguments, ConvertOptions& options);

}  // namespace headrace::cli
