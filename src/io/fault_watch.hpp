// FaultWatch: mapped pages of a file that may be cut short while they are looked at.
#pragma once

#include <cstddef>
#include <span>

namespace headrace::io {

/// Where a mapped file ends earlier than its mapping, or can't be read, looking at it is SIGBUS, which ends a program.
/// Of pages that are watched it doesn't: zeros take their place, from there on, and the watch remembers.
///
/// The first watch sets the process's handler of SIGBUS; what it isn't meant for goes on to the handler that was there.
class FaultWatch {
 public:
  /// `pages`: whole ones, of a private mapping that outlives the watch. Throws std::bad_alloc.
  explicit FaultWatch(std::span<std::byte> pages);
  ~FaultWatch();
  FaultWatch(const FaultWatch&) = delete;
  FaultWatch& operator=(const FaultWatch&) = delete;

  /// Some of the bytes that anybody saw weren't the file's. Thread-safe.
  bool broken() const noexcept;

  struct Slot;

 private:
  Slot* slot_;
};

}  // namespace headrace::io
