#include "residency/block_pool.hpp"

#include "device/host/pages.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

namespace headrace::residency {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kRounded = std::size_t{64} << 10;
constexpr std::size_t kLargePage = std::size_t{2} << 20;

std::uint64_t rounded(std::uint64_t bytes, std::uint64_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

// One range of addresses. Blocks are cut from where it is free first, so that as few pages as can be are in use.
class BlockPool::Arena {
 public:
  Arena(std::uint64_t most, std::uint64_t largest)
      : most_free_(most + largest), bytes_(rounded(most + kInUse * largest, kLargePage)) {}

  /// The byte where the block begins; nothing when there is no room.
  std::optional<std::uint64_t> take(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    if (!memory_ && !reserve()) return std::nullopt;
    const auto gap = std::ranges::find_if(gaps_, [bytes](const auto& one) { return one.second >= bytes; });
    if (gap == gaps_.end()) return std::nullopt;
    const std::uint64_t at = gap->first;
    auto rest = gaps_.extract(gap);
    rest.key() += bytes;
    rest.mapped() -= bytes;
    if (rest.mapped() > 0) gaps_.insert(std::move(rest));
    for_pages(at, bytes, [this](Page& page, std::uint64_t) {
      if (page.users++ == 0 && std::exchange(page.is_there, true)) free_bytes_ -= kLargePage;
    });
    return at;
  }

  void give_back(std::uint64_t at, std::uint64_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    for_pages(at, bytes, [this](Page& page, std::uint64_t first) {
      if (--page.users > 0) return;
      free_bytes_ += kLargePage;
      if (free_bytes_ > most_free_) drop(page, first);
    });
    try {
      add_gap(at, bytes);
    } catch (const std::bad_alloc&) {  // it stays unused
    }
  }

  std::byte* memory() const noexcept { return memory_.get(); }

  void trim() noexcept {
    const std::lock_guard lock(mutex_);
    for_pages(0, pages_.size() * kLargePage, [this](Page& page, std::uint64_t first) {
      if (page.users == 0 && page.is_there) drop(page, first);
    });
  }

  std::uint64_t free_bytes() const {
    const std::lock_guard lock(mutex_);
    return free_bytes_;
  }

 private:
  // Of the largest blocks: in use, or about to be.
  static constexpr std::uint64_t kInUse = 3;

  struct Page {
    std::uint32_t users = 0;  // blocks
    bool is_there = false;    // the system has given memory for it
  };

  bool reserve() {
    pages_.resize(bytes_ / kLargePage);
    gaps_ = {{0, bytes_}};
    memory_ = device::host::reserve_memory(bytes_);
    return memory_ != nullptr;
  }

  template <class Visit>
  void for_pages(std::uint64_t at, std::uint64_t bytes, const Visit& visit) {
    const std::uint64_t end = rounded(at + bytes, kLargePage) / kLargePage;
    for (std::uint64_t i = at / kLargePage; i < end; ++i) visit(pages_[i], i * kLargePage);
  }

  void drop(Page& page, std::uint64_t first) noexcept {
    if (!device::host::drop_memory(memory_.get() + first, kLargePage)) return;
    page.is_there = false;
    free_bytes_ -= kLargePage;
  }

  void add_gap(std::uint64_t at, std::uint64_t bytes) {
    auto next = gaps_.lower_bound(at);
    if (next != gaps_.end() && next->first == at + bytes) {
      bytes += next->second;
      next = gaps_.erase(next);
    }
    if (next != gaps_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == at) {
        before->second += bytes;
        return;
      }
    }
    gaps_.emplace_hint(next, at, bytes);
  }

  const std::uint64_t most_free_, bytes_;
  mutable std::mutex mutex_;
  std::shared_ptr<std::byte> memory_;
  std::vector<Page> pages_;
  std::map<std::uint64_t, std::uint64_t> gaps_;  // bytes, by the first
  std::uint64_t free_bytes_ = 0;
};

BlockPool::BlockPool(std::uint64_t most, std::uint64_t largest)
    : arena_(std::make_shared<Arena>(rounded(most, kRounded), rounded(largest, kRounded))) {}

std::shared_ptr<std::byte> BlockPool::take(std::size_t bytes) const {
  const std::uint64_t wanted = rounded(bytes, kRounded);
  if (const auto at = arena_->take(wanted)) {
    return {arena_->memory() + *at, [arena = arena_, at = *at, wanted](std::byte*) { arena->give_back(at, wanted); }};
  }
  return device::host::make_memory(bytes, kPage, true);
}

void BlockPool::trim() const noexcept { arena_->trim(); }

std::uint64_t BlockPool::free_bytes() const { return arena_->free_bytes(); }

}  // namespace headrace::residency
