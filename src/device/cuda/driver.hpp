// CUDA's devices: those that libcuda.so.1 finds, in its order.
#pragma once

#include "device/driver.hpp"

#include <memory>
#include <string>

namespace headrace::device::cuda {

const Driver& driver();

/// Another library that has CUDA's functions: for tests.
std::unique_ptr<Driver> make_driver(const std::string& file);

}  // namespace headrace::device::cuda
