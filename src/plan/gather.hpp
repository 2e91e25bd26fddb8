// The tensors of several inputs, as one list under the names they will have.
#pragma once

#include "plan/draft.hpp"

namespace headrace::plan {

/// Opens the draft's inputs, each with the memory that the ones before it left.
void open_sources(Draft& draft);

/// Fills the draft's tensors and origins: every tensor of every source, in their order, prefixed, its type still the
/// source's. Throws Error(conflict) naming both files when two would have one name.
void gather_tensors(Draft& draft);

}  // namespace headrace::plan
