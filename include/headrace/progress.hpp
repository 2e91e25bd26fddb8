// Progress: how far a job has come.
#pragma once

#include <cstdint>
#include <functional>

namespace headrace {

/// A snapshot of a running job. Bytes are those of the source's tensors.
struct Progress {
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;
  std::uint64_t tensors_done = 0;
  std::uint64_t tensors_total = 0;
  bool flushing = false;  ///< every byte is written; the system is bringing the file to the disk
};

/// Called on the thread that started the job, about ten times a second and once at the end (`bytes_done ==
/// bytes_total`). It may throw: the job is then stopped, and the exception reaches the caller.
using ProgressCallback = std::function<void(const Progress&)>;

}  // namespace headrace
