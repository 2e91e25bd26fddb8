// Runs a plan: pieces, workers, one gate, one writer.
#pragma once

#include "plan/plan.hpp"

#include <headrace/cancel.hpp>
#include <headrace/convert.hpp>
#include <headrace/progress.hpp>

namespace headrace::flow {

/// See headrace::convert.
ConvertReport run(const Plan::Impl& plan, const ProgressCallback& on_progress, const CancelToken& cancel);

}  // namespace headrace::flow
