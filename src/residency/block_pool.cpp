#include "residency/block_pool.hpp"

#include "device/host/pages.hpp"

#include <algorithm>
#include <mutex>
#include <new>
#include <span>
#include <utility>
#include <vector>

namespace headrace::residency {
namespace {

constexpr std::size_t kPage = 4096;
// Tensors of one shape begin anywhere in a page, and shall have blocks of one size.
constexpr std::size_t kRounded = std::size_t{64} << 10;

struct Block {
  std::shared_ptr<std::byte> memory;
  std::size_t bytes = 0;
};

}  // namespace

class BlockPool::Blocks {
 public:
  explicit Blocks(std::uint64_t most) : most_(most) {}

  Block take(std::size_t bytes) {
    std::vector<Block> gone;  // unmapped without the lock
    const std::lock_guard lock(mutex_);
    largest_ = std::max<std::uint64_t>(largest_, bytes);
    Block block;
    const auto at = std::ranges::find(free_, bytes, &Block::bytes);
    if (at != free_.end()) {
      block = std::move(*at);
      free_.erase(at);
      free_bytes_ -= bytes;
    } else {
      for (; !free_.empty() && is_too_much(bytes); free_.erase(free_.begin())) {  // sizes that come and go don't add up
        free_bytes_ -= free_.front().bytes;
        gone.push_back(std::move(free_.front()));
      }
      block = {device::host::make_memory(bytes, kPage, true), bytes};
      if (!block.memory) return block;
    }
    waiting_.push_back({block.memory.get(), bytes});
    waiting_bytes_ += bytes;
    return block;
  }

  void use(const std::byte* at) noexcept {
    const std::lock_guard lock(mutex_);
    used_bytes_ += stop_waiting(at);
  }

  void give_back(Block block) noexcept {
    const std::lock_guard lock(mutex_);
    if (stop_waiting(block.memory.get()) == 0) used_bytes_ -= block.bytes;
    if (is_too_much(block.bytes)) return;
    try {
      free_.push_back(block);
      free_bytes_ += block.bytes;
    } catch (const std::bad_alloc&) {  // then the system has it
    }
  }

  void trim() noexcept {
    const std::lock_guard lock(mutex_);
    free_.clear();
    free_bytes_ = 0;
  }

  std::uint64_t free_bytes() const {
    const std::lock_guard lock(mutex_);
    return free_bytes_;
  }

 private:
  bool is_too_much(std::uint64_t more) const noexcept {
    return std::min(used_bytes_, largest_) + waiting_bytes_ + free_bytes_ + more > std::max(most_, largest_) + largest_;
  }

  // The bytes of the block that waits there; 0 where none does.
  std::uint64_t stop_waiting(const std::byte* at) noexcept {
    const auto found = std::ranges::find_if(waiting_, [at](std::span<const std::byte> block) {
      return at >= block.data() && at < block.data() + block.size();
    });
    if (found == waiting_.end()) return 0;
    const std::uint64_t bytes = found->size();
    waiting_.erase(found);
    waiting_bytes_ -= bytes;
    return bytes;
  }

  const std::uint64_t most_;
  mutable std::mutex mutex_;
  std::vector<Block> free_;                          // the oldest first
  std::vector<std::span<const std::byte>> waiting_;  // given out, not in use yet
  std::uint64_t free_bytes_ = 0, waiting_bytes_ = 0, used_bytes_ = 0, largest_ = 0;
};

BlockPool::BlockPool(std::uint64_t most) : blocks_(std::make_shared<Blocks>(most)) {}

std::shared_ptr<std::byte> BlockPool::take(std::size_t bytes) const {
  Block block = blocks_->take((bytes + kRounded - 1) / kRounded * kRounded);
  if (!block.memory) return nullptr;
  std::byte* const at = block.memory.get();
  return {at,
          [blocks = blocks_, block = std::move(block)](std::byte*) mutable { blocks->give_back(std::move(block)); }};
}

void BlockPool::use(const std::byte* at) const noexcept { blocks_->use(at); }

void BlockPool::trim() const noexcept { blocks_->trim(); }

std::uint64_t BlockPool::free_bytes() const { return blocks_->free_bytes(); }

}  // namespace headrace::residency
