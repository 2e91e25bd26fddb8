// Ring: reads that the kernel does meanwhile (io_uring), without a library.
#pragma once

#include "io/file.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace headrace::io {

/// A few reads in flight at once. For one thread at a time; not necessarily always the same.
class Ring {
 public:
  /// A read that is over: bytes read, or an errno number below zero.
  struct Completion {
    std::uint64_t tag = 0;
    int result = 0;
  };

  /// For at most `entries` reads at once. Null where the system has no io_uring with reads (Linux before 5.6), doesn't
  /// allow it (containers, the sysctl kernel.io_uring_disabled), or has no memory for it (ulimit -l).
  static std::unique_ptr<Ring> make(unsigned entries) noexcept;
  /// Waits for what is in flight: the kernel would write into memory that is somebody else's by then.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Starts to read into `out`, which the kernel writes to until the read is over. False when it couldn't be started:
  /// all entries are in flight, or the system refuses.
  bool start(int descriptor, std::uint64_t offset, std::span<std::byte> out, std::uint64_t tag) noexcept;
  /// Waits for any read in flight; there must be one.
  Completion wait() noexcept;
  unsigned in_flight() const noexcept { return in_flight_; }

 private:
  Ring() = default;

  // A region of the kernel's memory, shared with it.
  struct Shared {
    std::byte* at = nullptr;
    std::size_t size = 0;
    ~Shared();
  };

  Descriptor fd_;
  Shared rings_, entries_;
  unsigned *submit_tail_ = nullptr, *submit_array_ = nullptr, submit_mask_ = 0;
  unsigned *complete_head_ = nullptr, *complete_tail_ = nullptr, complete_mask_ = 0;
  std::byte* completions_ = nullptr;
  unsigned capacity_ = 0, in_flight_ = 0;
};

}  // namespace headrace::io
