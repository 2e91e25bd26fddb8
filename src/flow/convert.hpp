// Runs a plan: pieces, workers, one gate, one writer.
#pragma once

#include "plan/plan.hpp"

#include <headrace/cancel.hpp>
#include <headrace/convert.hpp>
#include <headrace/progress.hpp>

namespace headrace::flow {

/// How many reads at once its sources are fastest with; 0: as many as there are workers.
unsigned reads_at_once(const Plan::Impl& plan) noexcept;

/// How many threads a plan is worked on with.
unsigned worker_count(const Plan::Impl& plan);

/// Throws Error(conflict) where the output is an input, or is there and may not be replaced: before any work that would
/// be lost.
void require_output(const Plan::Impl& plan);

/// See headrace::convert.
ConvertReport run(const Plan::Impl& plan, const ProgressCallback& on_progress, const CancelToken& cancel);

}  // namespace headrace::flow
