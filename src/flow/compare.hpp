// Compares two checkpoints, tensor by tensor, in bounded memory.
#pragma once

#include "format/checkpoint.hpp"

#include <headrace/cancel.hpp>
#include <headrace/progress.hpp>
#include <headrace/verify.hpp>

namespace headrace::flow {

/// See headrace::verify.
VerifyReport compare(const Checkpoint::Impl& first, const Checkpoint::Impl& second, const VerifyOptions& options,
                     const ProgressCallback& on_progress, const CancelToken& cancel);

}  // namespace headrace::flow
