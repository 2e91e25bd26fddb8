// A plan, shown before it is carried out.
#pragma once

#include "cli/json.hpp"
#include "cli/output.hpp"

#include <headrace/plan.hpp>

namespace headrace::cli {

/// A table of the tensors, the notes, and the totals.
void print_plan(Output& out, const Plan& plan);
/// The same as one JSON document.
void print_plan_json(Output& out, const Plan& plan);

/// Adds what is true of a plan as a whole: paths, formats, sizes, types, notes.
void describe(JsonDocument& document, const Plan& plan);

/// A tensor of a plan, as documents list it.
Json json_of(const PlannedTensor& tensor);
Json json_of(const DroppedTensor& tensor);

}  // namespace headrace::cli
