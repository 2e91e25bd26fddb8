// The fake CUDA driver (fake_cuda.cpp), from the side of the tests.
#pragma once

#include "device/cuda/driver.hpp"
#include "device/dynamic_library.hpp"

#include <memory>

namespace headrace::test {

class FakeCuda {
 public:
  static const FakeCuda& instance() {
    static const FakeCuda kFake;
    return kFake;
  }

  const device::Driver& driver() const { return *driver_; }
  std::shared_ptr<Device> open(unsigned index = 0) const { return driver_->open(index); }
  /// The n-th call of `function` from now on gives `result`.
  void fail(const char* function, int n, int result) const { fail_(function, n, result); }
  long count(const char* what) const { return count_(what); }

 private:
  FakeCuda() : library_(HEADRACE_FAKE_CUDA), driver_(device::cuda::make_driver(HEADRACE_FAKE_CUDA)) {
    library_.bind(fail_, "fake_cuda_fail");
    library_.bind(count_, "fake_cuda_count");
  }

  device::DynamicLibrary library_;
  std::unique_ptr<device::Driver> driver_;
  void (*fail_)(const char*, int, int) = nullptr;
  long (*count_)(const char*) = nullptr;
};

}  // namespace headrace::test
