// What zip files need of other libraries: checksums and inflating. In a build without zlib there is a stand-in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace headrace::format::zip {

/// Throws Error(unsupported) naming the build's option in a build that can't read zip archives.
void require_zip(const std::string& file);

/// The CRC-32 of bytes that follow those whose checksum is `crc` (0: none). Some 50 GB/s on bytes in the cache.
std::uint32_t crc32(std::uint32_t crc, std::span<const std::byte> bytes) noexcept;

/// Puts checksums of neighbours together without their bytes. Keeps what depends on the length alone, which takes
/// microseconds and is mostly the same from one call to the next. Not thread-safe.
class ChecksumJoiner {
 public:
  /// The checksum of both runs, of which the second has `second_bytes` bytes.
  std::uint32_t join(std::uint32_t first, std::uint32_t second, std::uint64_t second_bytes) noexcept;

 private:
  std::uint64_t bytes_ = 0;
  std::uint32_t shift_ = 0;
};

/// A raw deflate stream, from its beginning on. Holds about 44 KiB.
class Inflater {
 public:
  enum class State : std::uint8_t { more, end, damaged };

  struct Step {
    std::size_t consumed = 0, produced = 0;
    State state = State::more;
  };

  /// Throws std::bad_alloc.
  Inflater();
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// Inflates until `in` is used up, `out` is full, or the stream ends.
  Step step(std::span<const std::byte> in, std::span<std::byte> out) noexcept;

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace headrace::format::zip
