// PastCache: tensors that the system's cache doesn't keep from use to use, read past it.
#pragma once

#include "io/direct_readers.hpp"
#include "plan/plan.hpp"
#include "residency/block_pool.hpp"
#include "residency/cache_trust.hpp"
#include "residency/mapped_tensor.hpp"
#include "residency/read_ahead.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

namespace headrace::residency {

/// Of a map's tensors that are given as they are stored in files of this machine (is_given_as_stored); of all others it
/// reads nothing. Asked at each use, it knows what the cache has lost since the last. Tensors are numbered as the
/// map's.
///
/// Thread-safe. Throws Error(io), naming file and tensor.
class PastCache {
 public:
  struct Tensors {
    const Plan::Impl& plan;  // made for memory
    const std::vector<TensorInfo>& infos;
    const std::vector<std::uint32_t>& in_plan;  // beside them: their indexes in the plan
  };
  using Block = ReadAhead::Bytes;

  /// Of a map's `memory` bytes, those of blocks that are read before they are used: two large layers, mostly.
  static std::uint64_t ahead_of(std::uint64_t memory) noexcept { return memory / 10; }
  /// And those of what is read for memory that the disk can't write to. Less than 1 MiB at once would be slower than
  /// the cache: then it is none, and such memory is filled through that.
  static std::uint64_t staging_of(std::uint64_t memory) noexcept;

  /// `ahead`: what is read before its use, with `block`. It and what `tensors` refers to outlive this, and may be made
  /// later.
  PastCache(const Tensors& tensors, ReadAhead& ahead, std::uint64_t memory);

  struct Use {
    Block block = {};        // all of it, read ahead or now; its memory is used again once nobody has it
    bool is_cached = false;  // without a block: nobody has to bring it
  };
  /// A tensor is used now that is given as it is stored.
  Use begin_use(std::uint32_t tensor);
  /// The same into memory that is there; false where the cache has to do.
  bool read(std::uint32_t tensor, std::span<std::byte> out);
  /// Part of it, from byte `offset` on. A use begins with the first part and ends with the last; what somebody reads
  /// alone from its middle goes through the cache.
  bool read_part(std::uint32_t tensor, std::uint64_t offset, std::span<std::byte> out);

  /// Whether it should be read ahead so.
  bool wants_ahead(std::uint32_t tensor);
  /// All of it. No memory where the file isn't read so, or there is none.
  Block block(std::uint32_t tensor);

  /// It won't be used for a while, by whoever has read some parts of it.
  void release(std::uint32_t tensor);
  /// Memory that waits to be used again goes back to the system.
  void trim() const noexcept { blocks_.trim(); }
  /// Of the files, so far.
  std::uint64_t bytes_read() const noexcept { return bytes_read_; }

 private:
  bool is_given_as_stored(std::uint32_t tensor) const;
  InCache in_cache(std::uint32_t tensor) const noexcept;
  bool goes_past(std::uint32_t tensor, InCache there, bool was_to_be_ahead);
  std::shared_ptr<const io::DirectReader> reader_of(std::uint32_t tensor) const;
  bool read_into(std::uint32_t tensor, std::uint64_t offset, std::span<std::byte> out);
  bool begin_parts(std::uint32_t tensor);

  const Tensors tensors_;
  ReadAhead& ahead_;
  const bool fills_memory_;
  const io::DirectReaders readers_;
  const BlockPool blocks_;
  CacheTrust trust_;
  std::mutex mutex_;
  std::unordered_map<std::uint32_t, Block> in_parts_;  // uses under way: what was read ahead of one, or nothing
  std::atomic<std::uint64_t> bytes_read_{0};
};

}  // namespace headrace::residency
