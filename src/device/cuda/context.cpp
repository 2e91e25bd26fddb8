#include "device/cuda/context.hpp"
#include "device/errors.hpp"

#include <utility>

namespace headrace::device::cuda {

void check(const Api& api, const std::string& device, const char* call, CUresult result) {
  if (result != kSuccess) throw call_failed(device, call, api.name_of(result));
}

Context::Context(std::shared_ptr<const Api> api, CUdevice device, std::string name)
    : api_(std::move(api)), device_(device), name_(std::move(name)) {
  const CUresult result = api_->primary_context_retain(&context_, device);
  if (result == kOutOfMemory) throw out_of_memory(name_, "memory for a context", 0, std::nullopt);
  check("cuDevicePrimaryCtxRetain", result);
}

Context::~Context() { api_->primary_context_release(device_); }

Context::Use::Use(const Context& context) : api_(context.api()) {
  context.check("cuCtxPushCurrent", api_.context_push(context.context_));
}

Context::Use::~Use() {
  CUcontext ours = nullptr;
  api_.context_pop(&ours);
}

DeviceMemory Context::memory() const {
  const Use use(*this);
  std::size_t free = 0;
  std::size_t total = 0;
  check("cuMemGetInfo", api_->memory_info(&free, &total));
  return {.total = total, .free = free, .largest = total};
}

void Context::check_allocation(const char* call, CUresult result, const std::string& what, std::size_t bytes) const {
  if (result != kOutOfMemory) return check(call, result);
  std::size_t free = 0;
  std::size_t total = 0;
  const bool known = api_->memory_info(&free, &total) == kSuccess;
  throw out_of_memory(name_, what, bytes, known ? std::optional<std::uint64_t>(free) : std::nullopt);
}

}  // namespace headrace::device::cuda
