// Tensors that are joined and cut: --concat and --split.
#pragma once

#include "plan/draft.hpp"

namespace headrace::plan {

/// Puts what the caller's Shaping joins and cuts in the place of what it is made of, the first part's place.
/// Throws Error: invalid_argument (a name that isn't there; shapes or types that don't fit; rows that don't add up),
/// unsupported (blocks that would be cut; joining what a stream brings), conflict (a new name that another tensor has).
void derive(Draft& draft);

}  // namespace headrace::plan
