// What goes wrong with devices, said alike for all of them.
#pragma once

#include <headrace/device.hpp>
#include <headrace/error.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace headrace::device {

/// Error(no_space): `bytes` more (0: it isn't known how many) don't fit. `what`: "memory", "page-locked memory of the
/// host".
Error out_of_memory(const std::string& device, const std::string& what, std::uint64_t bytes,
                    const std::optional<std::uint64_t>& free);

/// Error(io): a driver's function has failed. `code` as the driver's makers write it, "CUDA_ERROR_LAUNCH_FAILED (719)".
Error call_failed(const std::string& device, const std::string& call, const std::string& code);

/// Error(unsupported): `kind` can't be used on this machine, because of `problem`.
Error not_usable(const std::string& device, const std::string& problem, const std::string& hint);

}  // namespace headrace::device
