// DirectReader: a file's bytes without the system's page cache in between.
//
// For a large file that isn't cached: the disk writes into the reader's memory by itself, several requests at a time,
// and the processor is left alone. What is cached comes faster through the File (io/page_cache says what is).
#pragma once

#include "io/file.hpp"
#include "io/uring.hpp"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace headrace::io {

/// Thread-safe. The File must outlive it. Of no use in a forked child.
class DirectReader {
 public:
  /// What offsets, sizes and memory are multiples of in a read that needs no copy. No file system that is known to want
  /// more is read directly.
  static constexpr std::size_t kAlignment = 4096;
  /// Requests of a lane that are in flight at once.
  static constexpr unsigned kDepth = 8;

  /// automatic: io_uring where the system has and allows it, else pread.
  enum class Engine { automatic, pread };

  /// Nothing where the file system doesn't do direct reads, or /proc isn't there: then read the File.
  /// `lanes`: threads that read at once, at least 1. Each has a buffer of `lane_bytes`, rounded up to a multiple of
  /// kDepth * kAlignment. Memory that is congruent (see read_at) needs no more than that; for other memory 8 MiB were
  /// fastest, and 2 MiB took twice the time. Throws Error(budget) when there is no memory for them.
  static std::unique_ptr<DirectReader> open(const File& file, unsigned lanes, std::size_t lane_bytes,
                                            Engine engine = Engine::automatic);
  ~DirectReader();
  DirectReader(const DirectReader&) = delete;
  DirectReader& operator=(const DirectReader&) = delete;

  /// Fills `out` with the bytes from `offset` on, all of them. Takes a free lane, waits where there is none.
  /// Where the address of `out` and `offset` agree modulo memory_alignment(), whole aligned pieces land in `out`
  /// itself; the rest, and everything elsewhere, goes through the lane's buffer.
  /// From the first byte on that can't be read directly, all is read through the File, which says why it can't either:
  /// the same Error as its read_at's. Nothing is written to `out` once this has returned or thrown.
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;

  /// kAlignment or a divisor of it, as the file's device asks for.
  std::size_t memory_alignment() const noexcept { return memory_alignment_; }
  /// Bytes of all lanes' buffers, held from the lane's first use on. Their rings take a few pages besides.
  std::size_t memory() const noexcept { return buffers_.size(); }
  /// "io_uring", or "pread" where no lane has a ring.
  const char* engine() const noexcept;

 private:
  struct Lane {
    std::span<std::byte> buffer;
    std::unique_ptr<Ring> ring;  // null: pread
  };
  class Taken;

  DirectReader(const File& file, Descriptor direct, std::size_t memory_alignment)
      : file_(file), direct_(std::move(direct)), memory_alignment_(memory_alignment) {}
  void add_lanes(unsigned count, std::size_t bytes, Engine engine);
  void read_many(const Lane& lane, std::uint64_t offset, std::span<std::byte> out) const;
  void read_in_turn(const Lane& lane, std::uint64_t offset, std::span<std::byte> out) const;

  const File& file_;
  Descriptor direct_;
  const std::size_t memory_alignment_;
  std::span<std::byte> buffers_;
  std::vector<Lane> lanes_;
  mutable std::mutex mutex_;
  mutable std::condition_variable freed_;
  mutable std::vector<const Lane*> free_;
};

}  // namespace headrace::io
