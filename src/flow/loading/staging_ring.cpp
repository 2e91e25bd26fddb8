#include "flow/loading/staging_ring.hpp"

#include <headrace/error.hpp>

#include <utility>

namespace headrace::flow {

StagingRing::StagingRing(std::shared_ptr<Device> device, std::size_t slot_bytes, std::size_t slots)
    : device_(std::move(device)), slot_bytes_(slot_bytes), unmade_(slots) {
  idle_.reserve(slots);  // giving back must not fail
}

std::shared_ptr<StagingRing::Slot> StagingRing::acquire() {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [&] { return poisoned_ || !idle_.empty() || unmade_ > 0; });
  if (poisoned_) throw Error(ErrorCode::cancelled, "loading has ended");
  std::unique_ptr<Slot> slot;
  if (!idle_.empty()) {
    slot = std::move(idle_.back());
    idle_.pop_back();
  } else {
    slot = std::make_unique<Slot>(Slot{device_->staging(slot_bytes_)});
    --unmade_;
  }
  lock.unlock();
  return {slot.release(), [ring = shared_from_this()](Slot* used) { ring->give_back(std::unique_ptr<Slot>(used)); }};
}

void StagingRing::give_back(std::unique_ptr<Slot> slot) noexcept {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(slot));
  freed_.notify_one();
}

void StagingRing::poison() noexcept {
  const std::lock_guard lock(mutex_);
  poisoned_ = true;
  freed_.notify_all();
}

}  // namespace headrace::flow
