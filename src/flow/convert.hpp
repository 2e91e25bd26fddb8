// Runs a plan: pieces, workers, one gate, one writer.
#pragma once

#include "base/gate.hpp"
#include "plan/plan.hpp"

#include <headrace/cancel.hpp>
#include <headrace/convert.hpp>
#include <headrace/progress.hpp>

namespace headrace::flow {

/// How many reads at once its sources are fastest with; 0: as many as there are workers.
unsigned reads_at_once(const Plan::Impl& plan) noexcept;

/// How many threads a plan is worked on with.
unsigned worker_count(const Plan::Impl& plan);

/// Counts to the gate what a plan and its sources hold. Throws Error(budget).
void charge_plan(const Plan::Impl& plan, base::Gate& gate);

/// Once a piece has failed, nobody shall wait for more of a stream: what it would give comes after that piece.
void stop_streams(const Plan::Impl& plan) noexcept;
/// Ends every read that waits, now and later.
void interrupt_sources(const Plan::Impl& plan) noexcept;

/// Throws Error(conflict) where the output is an input, or is there and may not be replaced: before any work that would
/// be lost.
void require_output(const Plan::Impl& plan);

/// See headrace::convert.
ConvertReport run(const Plan::Impl& plan, const ProgressCallback& on_progress, const CancelToken& cancel);

}  // namespace headrace::flow
