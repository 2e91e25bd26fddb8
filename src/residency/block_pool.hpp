// BlockPool: memory for tensors that come and go, used again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace headrace::residency {

/// Blocks in large pages, where the system has them: a disk writes into those twice as fast as into small ones. What
/// nobody has any more is given out again, to blocks of all sizes: memory that is new is slow, for the system fills it
/// with zeros, and a virtual machine's host has to find it. Thread-safe; blocks may outlive the pool.
class BlockPool {
 public:
  /// `most`: bytes, of blocks that are read ahead. `largest`: of one block, as a rule. Memory for those, and some in
  /// use beside, is used again; what would be more goes back to the system as soon as nobody has it.
  BlockPool(std::uint64_t most, std::uint64_t largest);

  /// At least `bytes` bytes at a page's beginning; null when there is no memory. Contents are whatever the last user
  /// left.
  std::shared_ptr<std::byte> take(std::size_t bytes) const;
  /// The system gets back what nobody has.
  void trim() const noexcept;
  /// Of memory that nobody has, and the system hasn't.
  std::uint64_t free_bytes() const;

 private:
  class Arena;
  std::shared_ptr<Arena> arena_;
};

}  // namespace headrace::residency
