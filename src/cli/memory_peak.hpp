// The most memory that this process held.
#pragma once

#include <cstdint>
#include <optional>

namespace headrace::cli {

/// Bytes of the host's memory that this process held at most (VmHWM: what a device's driver holds of it counts, and so
/// do the pages of mapped files that were touched) since it began or reset_memory_peak was called. Nothing where the
/// system doesn't say.
std::optional<std::uint64_t> memory_peak();

/// From now on. Without effect on a kernel that can't (CONFIG_PROC_PAGE_MONITOR).
void reset_memory_peak();

}  // namespace headrace::cli
