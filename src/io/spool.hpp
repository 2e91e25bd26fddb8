// Spool: a temporary file, for bytes that have to be gone through in order before they can be read by position.
#pragma once

#include "io/file.hpp"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

namespace headrace::io {

/// A file without a name in TMPDIR, else in /var/tmp (not /tmp, which often is memory): it is gone when the Spool is,
/// even after a kill. It is made when room is first asked for, so a Spool that isn't used costs nothing.
/// Thread-safe; different threads write to different places. Errors name the folder and TMPDIR.
class Spool {
 public:
  Spool() = default;
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Where `bytes` bytes may be written. Throws Error(no_space) when the folder can't hold them, Error(io) when no file
  /// can be made there.
  std::uint64_t reserve(std::uint64_t bytes);

  /// Throws Error: no_space, io.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);

  /// Fills `out` with bytes that have been written. Throws Error(io).
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  void create();

  std::mutex mutex_;  // for the making of the file, and its end
  Descriptor fd_;
  std::string folder_;
  std::uint64_t end_ = 0;
};

}  // namespace headrace::io
