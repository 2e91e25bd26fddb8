// One OpenCL device.
#pragma once

#include "device/opencl/api.hpp"

#include <headrace/device.hpp>

#include <memory>
#include <string>

namespace headrace::device::opencl {

struct Properties {
  std::string description;
  DeviceMemory memory;
  std::size_t alignment = 0;  ///< bytes
};

/// `name`: as errors call it. Throws Error(io).
Properties look_at(const Api& api, cl_device_id device, const std::string& name);

/// With a context of its own. `index`: what DLPack calls its id. Throws Error: io, no_space.
std::shared_ptr<Device> open(std::shared_ptr<const Api> api, cl_device_id device, const std::string& name,
                             unsigned index);

}  // namespace headrace::device::opencl
