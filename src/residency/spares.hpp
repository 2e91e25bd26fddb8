// Spares: memory of a device that units have left, for those that come in their place.
#pragma once

#include <headrace/device.hpp>
#include <headrace/load.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace headrace::residency {

/// A unit's tensors in one memory, in the order of the unit; one that isn't there has no buffer.
using Form = std::vector<LoadedTensor>;

std::uint64_t bytes_in(const Form& form) noexcept;

/// Allocates and frees what units have on the device. New memory is slow: a driver waits for its work, a host fills
/// pages with zeros. So of units that make way for others the last two stay, until somebody wants memory of their
/// sizes, or the room. Thread-safe.
class Spares {
 public:
  /// `limit`: bytes of the device that tensors and spares may have together. `reserve`: of the device's memory, to
  /// leave free for others; empty: nobody asks.
  Spares(std::shared_ptr<Device> device, std::optional<std::uint64_t> limit, std::optional<std::uint64_t> reserve);

  /// Memory of the device, of so many bytes as somebody was promised. Throws Error(no_space).
  Buffer allocate(std::uint64_t bytes);
  /// Returns their bytes.
  std::uint64_t free(std::vector<Form> forms) noexcept;
  /// The same of units that make way.
  std::uint64_t keep(std::vector<Form> forms) noexcept;
  /// Nobody comes now; or, `closed`, ever.
  void clear(bool closed = false) noexcept;

  /// Bytes that were allocated, so far, or were spare and aren't any more. What was freed and kept is the caller's to
  /// subtract.
  std::uint64_t given() const noexcept { return given_; }
  /// Of the device's memory, what is free, spares included; nothing when the driver can't say. Waits for nobody.
  std::optional<std::uint64_t> available() const;

 private:
  Buffer allocate_anew(std::size_t bytes);
  void keep(Buffer buffer) noexcept;
  void make_room(std::uint64_t most) noexcept;
  void leave_reserve(std::uint64_t beside) noexcept;

  const std::shared_ptr<Device> device_;
  const std::uint64_t limit_;
  const std::optional<std::uint64_t> reserve_;
  mutable std::mutex mutex_;
  std::deque<Buffer> spares_;                       // the oldest first
  std::uint64_t in_use_ = 0, largest_ = 0;          // bytes that are there or about to be; of one unit
  std::atomic<std::uint64_t> spare_{0}, given_{0};  // changed with the lock
  bool closed_ = false;
};

}  // namespace headrace::residency
