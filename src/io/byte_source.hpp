// ByteSource: bytes to be read, wherever they are.
#pragma once

#include <headrace/access.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace headrace::io {

/// A run of bytes of known length that is read by position. Where access() is random, reads need no order and keep no
/// state, so any number of threads may read at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// As errors call it: the path as the caller gave it.
  virtual const std::string& name() const noexcept = 0;
  virtual std::uint64_t size() const noexcept = 0;
  virtual Access access() const noexcept { return Access::random; }

  /// Fills `out` with the bytes from `offset` on, all of them.
  /// Throws Error(io) naming the source and the offset when the system fails or the bytes end too soon.
  virtual void read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
};

}  // namespace headrace::io
