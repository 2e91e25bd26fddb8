// The tensors of several inputs, as one list.
#pragma once

#include "plan/draft.hpp"

namespace headrace::plan {

/// Opens the draft's inputs, each with the memory that the ones before it left.
void open_sources(Draft& draft);

/// Fills the draft's tensors and origins: every tensor of every source, in their order, with the input's prefix, its
/// type still the source's.
void gather_tensors(Draft& draft);

}  // namespace headrace::plan
