// The checkpoint behind headrace.Checkpoint.
#pragma once

#include <headrace/cancel.hpp>
#include <headrace/checkpoint.hpp>

namespace headrace::python {

/// A checkpoint, and what ends its waits.
struct Opened {
  Checkpoint checkpoint;
  CancelToken cancel;  // once fired, its servers and pipes answer no more
  bool waits;          // for a server, a pipe or the program's own fetch()
};

}  // namespace headrace::python
