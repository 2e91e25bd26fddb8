// Destinations: the memory that a plan's tensors are loaded into, made when a tensor's first byte comes.
#pragma once

#include "flow/loading/host_files.hpp"
#include "plan/plan.hpp"

#include <headrace/load.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace headrace::flow {

/// Thread-safe. The plan, the options and the files must outlive it.
class Destinations {
 public:
  /// `device`: of the tensors that don't stay on the host, at once or, gathered, in the end.
  Destinations(const Plan::Impl& plan, std::shared_ptr<Device> device, const LoadOptions& options,
               const HostFiles& files);

  struct Destination {
    Buffer buffer = {};
    Buffer host_copy = {};
    const io::File* mapped = nullptr;  // the buffer is pages of this file
    std::uint64_t missing = 0;         // bytes that haven't arrived
    bool made = false;
  };

  /// Where a tensor goes; made now if it wasn't. Throws Error: no_space, invalid_argument (a buffer of the caller's
  /// that doesn't fit), and what LoadOptions::allocate throws.
  Destination& of(std::uint32_t tensor);

  /// `bytes` more have arrived; true when that was the last. Of one tensor, not from two threads at once.
  bool arrived(std::uint32_t tensor, std::uint64_t bytes);
  /// A tensor that is complete.
  LoadedTensor take(std::uint32_t tensor);

  /// Frees the buffers that weren't taken.
  void clear() noexcept;

  /// True when there is nothing to do for it: it lies in its file as it shall be, and its pages come when looked at.
  bool is_ready(std::uint32_t tensor) const;
  /// True when it never goes to the device.
  bool stays_on_host(std::uint32_t tensor) const noexcept;
  /// New memory on the device for a tensor that was gathered on the host. Throws as `of`.
  Buffer of_gathered(std::uint32_t tensor);
  /// Bytes of tensors that are pages of files.
  std::uint64_t mapped_bytes() const;

 private:
  void make(std::uint32_t tensor, Destination& destination);
  bool on_host_device() const noexcept { return device_ == host_; }
  std::size_t shift_of(std::uint32_t tensor, std::size_t alignment) const;
  Buffer on_host(std::uint32_t tensor) const;
  Buffer on_device(std::uint32_t tensor) const;
  Buffer callers(std::uint32_t tensor) const;
  template <class Make>
  void named(std::uint32_t tensor, const Make& make) const;
  std::span<std::byte> pages_of(std::uint32_t tensor) const;
  bool map(std::uint32_t tensor, Destination& destination);
  const Plan::Impl& plan_;
  const std::shared_ptr<Device> device_, host_;
  const LoadOptions& options_;
  const HostFiles& files_;
  mutable std::mutex mutex_;
  std::vector<Destination> all_;
  std::uint64_t mapped_bytes_ = 0;
};

}  // namespace headrace::flow
