// Shapes that the output's format can't list, and those that come back to one that can.
#pragma once

#include "plan/draft.hpp"

namespace headrace::plan {

/// Merges, widens or restores the shapes of the draft's tensors for its format, and records in its metadata (which is
/// made already) what a way back needs. Throws Error(unsupported) for a dimension that can't be recorded.
void fit_shapes(Draft& draft);

}  // namespace headrace::plan
