// StagingRing: a few pieces of host memory from which a device is filled, used again and again.
#pragma once

#include <headrace/device.hpp>

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace headrace::flow {

/// Thread-safe. Its slots keep it alive.
class StagingRing : public std::enable_shared_from_this<StagingRing> {
 public:
  /// `slots` pieces of `slot_bytes` each, made when they are first needed.
  StagingRing(std::shared_ptr<Device> device, std::size_t slot_bytes, std::size_t slots);

  /// Its bytes are the holder's until it is dropped.
  struct Slot {
    Staging memory;
    std::span<std::byte> bytes() const noexcept { return memory.bytes(); }
  };

  /// Waits until a slot is free. Throws Error: cancelled once the ring is poisoned; what Device::staging throws.
  std::shared_ptr<Slot> acquire();

  /// Every wait, now and later, ends with Error(cancelled). Slots may still be dropped.
  void poison() noexcept;

  std::size_t slot_bytes() const noexcept { return slot_bytes_; }

 private:
  void give_back(std::unique_ptr<Slot> slot) noexcept;

  const std::shared_ptr<Device> device_;
  const std::size_t slot_bytes_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Slot>> idle_;
  std::size_t unmade_;
  bool poisoned_ = false;
};

}  // namespace headrace::flow
