// ByteSource: bytes to be read, wherever they are.
#pragma once

#include <headrace/access.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

namespace headrace::io {

class File;
struct FileId;

/// The size of a stream whose end hasn't come yet.
inline constexpr std::uint64_t kUnknownSize = std::numeric_limits<std::uint64_t>::max();

/// A run of bytes that is read by position. Where access() is random, reads need no order and keep no state that
/// matters, so any number of threads may read at once. Where it is forward, offsets only grow: see ForwardSource.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// As errors call it: the location as the caller gave it.
  virtual const std::string& name() const noexcept = 0;
  /// kUnknownSize while it isn't known; then nothing can be checked against it.
  virtual std::uint64_t size() const noexcept = 0;
  virtual Access access() const noexcept { return Access::random; }

  /// Fills `out` with the bytes from `offset` on, all of them.
  /// Throws Error(io) naming the source and the offset when the system fails or the bytes end too soon.
  virtual void read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;

  /// Reads what there is, up to all of `out`; 0 only at the end of the source or for an empty `out`.
  virtual std::size_t read_some_at(std::uint64_t offset, std::span<std::byte> out) const {
    const auto n = std::min<std::uint64_t>(out.size(), size() - std::min(offset, size()));
    read_at(offset, out.first(static_cast<std::size_t>(n)));
    return static_cast<std::size_t>(n);
  }

  /// The file itself where its bytes are this source's, so that the system can copy them; else null.
  virtual const File* file() const noexcept { return nullptr; }

  /// True when the bytes come from that file of this machine, as they are there or packed.
  virtual bool comes_from(const FileId&) const noexcept { return false; }

  /// True for bytes that another source of the same checkpoint holds packed.
  virtual bool packed() const noexcept { return false; }

  /// True when the bytes come in order over time, so that what lies in front can be had long before the rest.
  virtual bool arrives() const noexcept { return access() == Access::forward; }

  /// How many reads at once this source is fastest with; 0: as many as there are workers.
  virtual unsigned parallel_reads() const noexcept { return 0; }

  /// Called once after the last read, before what was made of the bytes becomes final. Reads what checksums cover and
  /// nobody has read. Throws Error(format) when a checksum is wrong.
  virtual void finish() const {}

  /// Ends all reads that wait, now and later, with Error(cancelled). For sources that can wait long; thread-safe.
  virtual void interrupt() const noexcept {}

  /// Bytes of memory held.
  virtual std::size_t memory() const noexcept { return 0; }
};

}  // namespace headrace::io
