// Which type each tensor gets, and which a rule leaves out.
#pragma once

#include "plan/draft.hpp"

namespace headrace::plan {

/// Asks, for each tensor, in this order: the caller's rules, the profile's, the recipe or the type asked for; and says
/// why; then folds the scales of FP8 weights that change. `measured`: what a look at the data has found; null before.
/// Throws Error: invalid_argument (a bad rule, or one without a match; a recipe for no language model), unsupported
/// (the type can't be held or made; it names the tensor and the option that settles it).
void decide_types(Draft& draft, const Measured* measured);

}  // namespace headrace::plan
