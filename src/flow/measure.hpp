// Measure: which of a rule's types is good enough for a tensor, found by trying them on its numbers.
#pragma once

#include "plan/draft.hpp"

#include <headrace/cancel.hpp>
#include <headrace/progress.hpp>

namespace headrace::flow {

/// Finds, for every tensor of the plan that waits for it, the smallest type of its ladder whose relative RMSE is within
/// its rule's limit; the ladder's ceiling where none is. The answer doesn't depend on threads, memory or processor.
/// Throws Error: io, budget, cancelled; unsupported for a tensor that a stream brings.
plan::Measured measure(const Plan::Impl& plan, const ProgressCallback& on_progress, const CancelToken& cancel);

}  // namespace headrace::flow
