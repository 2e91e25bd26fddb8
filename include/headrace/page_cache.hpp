// What the system's cache holds of a checkpoint's files: for whoever measures how fast one loads.
// Thread-safety: any threads at once.
#pragma once

#include <headrace/checkpoint.hpp>

#include <optional>

namespace headrace {

/// The share (0 to 1) of the bytes of the checkpoint's files that the system's cache holds: a glance at a moment, for
/// pages come and go. Nothing where none of them is a file of this machine, or the system doesn't say.
std::optional<double> cached_share(const Checkpoint& checkpoint);

/// Asks the system to forget what it has cached of the checkpoint's files, so that who reads them next waits for the
/// disk; what was written to them lately is flushed first. Pages stay that some process maps, and all those of a file
/// system in memory: cached_share says what is left. False where none of them is a file of this machine.
/// Throws Error(io), naming the file that can't be flushed.
bool drop_cached(const Checkpoint& checkpoint);

}  // namespace headrace
