// The files that a conversion reads: a model, or the components of an all-in-one file.
#pragma once

#include <headrace/plan.hpp>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace headrace::cli {

/// Inputs as they were typed.
struct InputArguments {
  std::vector<std::string> models;
  std::vector<std::string> named;   // one for each component that has an option of its own; empty: not given
  std::vector<std::string> others;  // PREFIX=FILE
};

/// Adds INPUT with -m/--model, the components' options and --component. `arguments` must outlive the command.
void add_input_options(CLI::App& command, InputArguments& arguments);

/// The models first, then the components. Throws UsageError when there is none or a --component is no PREFIX=FILE.
std::vector<Input> inputs_of(const InputArguments& arguments);

}  // namespace headrace::cli
