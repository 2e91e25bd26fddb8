// --explain NAME: what becomes of one tensor, and why.
#pragma once

#include "cli/output.hpp"

#include <headrace/plan.hpp>

#include <string>

namespace headrace::cli {

/// Prints what the plan does with the tensor that has that name in the output or in an input; with `json` as a
/// document. Throws UsageError when there is none.
void print_explanation(Output& out, const Plan& plan, const std::string& name, bool json);

}  // namespace headrace::cli
