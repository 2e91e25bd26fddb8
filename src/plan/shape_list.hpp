// Which of the gathered tensors come into the output, and under which names.
#pragma once

#include "plan/draft.hpp"

namespace headrace::plan {

/// Applies the profile's prefix and the caller's Shaping, but for what is cut and joined, and remembers what is left
/// out. Throws Error: conflict naming both files when two tensors would have one name (unless one is preferred),
/// invalid_argument for a bad pattern, and for a pattern, prefix or layer that nothing matches.
void shape_list(Draft& draft);

/// Throws Error(conflict) when two tensors have one name. `way_out`: what can be done about it.
void refuse_duplicates(const Draft& draft, const std::string& way_out);

}  // namespace headrace::plan
