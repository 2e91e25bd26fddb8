// A context's command queue on one device, and the calls that go through it.
#pragma once

#include "device/opencl/api.hpp"

#include <headrace/device.hpp>
#include <headrace/error.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace headrace::device::opencl {

/// The Error for `call`'s result: no_space when there was no memory (`bytes` of it), else io.
Error failed(const std::string& device, const std::string& call, cl_int result, std::size_t bytes);

/// Runs commands in order. Thread-safe, as OpenCL's calls on queues are.
class Queue : public std::enable_shared_from_this<Queue> {
 public:
  /// Retains the context for as long as it lives. Throws Error(io). `name`: the device's.
  Queue(std::shared_ptr<const Api> api, cl_context context, cl_device_id device, std::string name);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  const Api& api() const noexcept { return *api_; }
  const std::string& name() const noexcept { return name_; }
  cl_context context() const noexcept { return context_; }

  // Throw Error: io, no_space.
  cl_mem create(cl_bitfield flags, std::size_t bytes);
  std::unique_ptr<DeviceTransfer> write(cl_mem memory, std::size_t offset, std::span<const std::byte> source);
  void read(cl_mem memory, std::size_t offset, std::span<std::byte> out);
  /// The memory for the processor, until `unmap`.
  std::byte* map(cl_mem memory, std::size_t bytes);
  void unmap(cl_mem memory, std::byte* mapped) noexcept;
  void finish();

 private:
  std::shared_ptr<const Api> api_;
  cl_context context_;
  std::string name_;
  cl_command_queue queue_ = nullptr;
};

}  // namespace headrace::device::opencl
