// Which tensors are quantised by weights, and whose.
#pragma once

#include "plan/draft.hpp"

namespace headrace::plan {

/// Opens the importance matrix and gives every tensor whose type is searched for by weights its share. Tensors without
/// an entry are named in the notes and made without weights; so are entries without a tensor, which are left aside.
/// Throws Error: invalid_argument (files where none are wanted, or the reverse), format (an entry of another length
/// than its tensor's rows; no entry that matches), io, budget.
void weigh(Draft& draft);

}  // namespace headrace::plan
