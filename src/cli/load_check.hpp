// Whether what was loaded is what the checkpoint gives.
#pragma once

#include <headrace/load.hpp>

#include <cstddef>
#include <string>

namespace headrace::cli {

/// Opens the source again and compares every tensor with it, a few MiB at a time: with the file's own bytes where it
/// was loaded as it is there, else with what is made of it a second time, on the host. Tensors on a device are
/// downloaded for it, and their copies on the host compared too. `options`: as it was loaded; its memory is what this
/// takes, and the largest tensor that isn't as it is in the source. Returns how many tensors were compared. Throws
/// Error: io, naming tensor and byte, where they differ; and as load.
std::size_t compare_with_source(const Weights& weights, const std::string& source, const LoadOptions& options);

}  // namespace headrace::cli
