// OpenCL's devices: of all platforms that the ICD loader (libOpenCL.so.1) finds, in its order.
#pragma once

#include "device/driver.hpp"

namespace headrace::device::opencl {

const Driver& driver();

}  // namespace headrace::device::opencl
