// One CUDA device, and the stream that uploads go through.
#pragma once

#include "device/cuda/context.hpp"

#include <headrace/device.hpp>

#include <memory>
#include <string>

namespace headrace::device::cuda {

/// `index`: what DLPack calls its id. Throws Error: io, no_space.
std::shared_ptr<Device> open(std::shared_ptr<const Context> context, std::string description, unsigned index);

}  // namespace headrace::device::cuda
