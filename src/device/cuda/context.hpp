// A device's primary context: the one that CUDA's run-time library and PyTorch use too, so that memory can be shared.
#pragma once

#include "device/cuda/api.hpp"

#include <headrace/device.hpp>
#include <headrace/error.hpp>

#include <memory>
#include <string>

namespace headrace::device::cuda {

/// Throws Error(io) unless the call succeeded.
void check(const Api& api, const std::string& device, const char* call, CUresult result);

/// Keeps the primary context. Thread-safe.
class Context {
 public:
  /// `name`: the device's, for errors. Throws Error: io, no_space.
  Context(std::shared_ptr<const Api> api, CUdevice device, std::string name);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Api& api() const noexcept { return *api_; }
  const std::string& name() const noexcept { return name_; }

  /// Makes the context this thread's for as long as it lives, and then the one it had before.
  class Use {
   public:
    /// Throws Error(io).
    explicit Use(const Context& context);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    const Api& api_;
  };

  /// Runs `body`, which frees something, with the context this thread's; not at all when it can't be, as at the end of
  /// a process whose driver has gone already.
  template <class Body>
  void release(Body&& body) const noexcept {
    if (api_->context_push(context_) != kSuccess) return;
    body();
    CUcontext ours = nullptr;
    api_->context_pop(&ours);
  }

  DeviceMemory memory() const;

  // Under a Use. `call`: for the error.
  void check(const char* call, CUresult result) const { cuda::check(*api_, name_, call, result); }
  /// As check; lack of memory is Error(no_space): `bytes` of `what`.
  void check_allocation(const char* call, CUresult result, const std::string& what, std::size_t bytes) const;

 private:
  std::shared_ptr<const Api> api_;
  CUdevice device_;
  std::string name_;
  CUcontext context_ = nullptr;
};

}  // namespace headrace::device::cuda
