// BlockPool: memory for tensors that come and go, used again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace headrace::residency {

/// Blocks in large pages, where the system has them: a disk writes into those twice as fast as into small ones. A block
/// comes back when nobody has it any more, and is given out again: memory that is new is slow, for the system fills it
/// with zeros, and a virtual machine's host has to find it. Thread-safe; blocks may outlive the pool.
class BlockPool {
 public:
  /// `most`: bytes that wait to be used, read ahead or free, but one block always; blocks that would be more go back to
  /// the system. One that is in use, the largest, is allowed for; others may be kept for long, and don't count.
  explicit BlockPool(std::uint64_t most);

  /// At least `bytes` bytes at a page's beginning; null when there is no memory. Contents are whatever the last user
  /// left.
  std::shared_ptr<std::byte> take(std::size_t bytes) const;
  /// A block that was taken, of which this is a byte, is in use now.
  void use(const std::byte* at) const noexcept;
  /// The system gets back what nobody has.
  void trim() const noexcept;
  /// Of blocks that nobody has.
  std::uint64_t free_bytes() const;

 private:
  class Blocks;
  std::shared_ptr<Blocks> blocks_;
};

}  // namespace headrace::residency
