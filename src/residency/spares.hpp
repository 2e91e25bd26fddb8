// Spares: memory of a device that units have left, for those that come in their place.
#pragma once

#include <headrace/device.hpp>
#include <headrace/load.hpp>

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
  /// `limit`: bytes of the device that tensors and spares may have together.
  Spares(std::shared_ptr<Device> device, std::optional<std::uint64_t> limit);

  /// Memory of the device, of so many bytes as somebody was promised. Throws Error(no_space).
  Buffer allocate(std::uint64_t bytes);
  void free(std::vector<Form> forms) noexcept;
  /// As `free`, of units that make way.
  void keep(std::vector<Form> forms) noexcept;
  /// Nobody comes.
  void clear() noexcept;

  /// Bytes that have been allocated and not been given back, without spares.
  std::uint64_t there() const;
  /// Of the device's memory, what is free, spares included; nothing when the driver can't say.
  std::optional<std::uint64_t> available() const;

 private:
  Buffer allocate_anew(std::size_t bytes);
  void keep(Buffer buffer) noexcept;
  void make_room(std::uint64_t most) noexcept;

  const std::shared_ptr<Device> device_;
  const std::uint64_t limit_;
  mutable std::mutex mutex_;
  std::deque<Buffer> spares_;             // the oldest first
  std::uint64_t in_use_ = 0, there_ = 0;  // with, and without, what is about to be allocated
  std::uint64_t spare_ = 0, largest_ = 0;
};

}  // namespace headrace::residency
