#include "residency/read_ahead.hpp"

#include <algorithm>
#include <exception>
#include <system_error>

namespace headrace::residency {

ReadAhead::~ReadAhead() {
  stop();
  if (thread_.joinable()) thread_.join();
}

void ReadAhead::stop() noexcept {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  wanted_.clear();
  changed_.notify_all();
}

bool ReadAhead::knows(std::uint32_t tensor) const {
  const std::lock_guard lock(mutex_);
  return knows_locked(tensor);
}

bool ReadAhead::knows_locked(std::uint32_t tensor) const {
  return (under_way_ && under_way_->tensor == tensor) || held_.contains(tensor) || once_.contains(tensor) ||
         std::ranges::find(wanted_, tensor, &Wanted::tensor) != wanted_.end();
}

void ReadAhead::want(std::uint32_t tensor, How how, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (stopped_ || knows_locked(tensor)) return;
  wanted_.push_back({tensor, how, bytes});
  changed_.notify_all();
  if (running_) return;
  if (thread_.joinable()) thread_.join();  // it has left its loop
  try {
    thread_ = std::thread([this] { run(); });
    running_ = true;
  } catch (const std::system_error&) {
    wanted_.clear();  // no thread is to be had: nothing is fetched ahead
  }
}

void ReadAhead::run() {
  std::unique_lock lock(mutex_);
  while (!wanted_.empty()) {
    const auto next = first_with_room();
    if (next != wanted_.end()) {
      const Wanted wanted = *next;
      wanted_.erase(next);
      fetch(lock, wanted);
    } else {
      waits_for_room_ = true;
      changed_.wait(lock);
      waits_for_room_ = false;
    }
  }
  running_ = false;
}

// Those read once stay in their order: a small one that overtook a large one would take its room for longer.
std::deque<ReadAhead::Wanted>::iterator ReadAhead::first_with_room() {
  const auto once = std::ranges::find(wanted_, How::once, &Wanted::how);
  if (once != wanted_.end() && !has_room(*once))
    return std::ranges::find_if(wanted_, [](const Wanted& one) { return one.how != How::once; });
  return wanted_.begin();
}

void ReadAhead::fetch(std::unique_lock<std::mutex>& lock, const Wanted& wanted) {
  const bool once = wanted.how == How::once;
  under_way_ = wanted;
  if (once) once_bytes_ += wanted.bytes;
  lock.unlock();
  Bytes bytes;
  try {
    bytes = fetch_(wanted.tensor, wanted.how);
  } catch (const std::exception&) {
    // Whoever reads it will meet the same, and be told.
  }
  lock.lock();
  if (once) once_bytes_ -= wanted.bytes;
  if (bytes.memory && under_way_ && !stopped_) {
    if (once) {
      once_bytes_ += bytes.size;
      order_.push_back(wanted.tensor);
    }
    (once ? once_ : held_).emplace(wanted.tensor, std::move(bytes));
  }
  under_way_.reset();
  changed_.notify_all();
}

std::optional<ReadAhead::Bytes> ReadAhead::find(std::uint32_t tensor) const {
  const std::lock_guard lock(mutex_);
  const auto at = held_.find(tensor);
  return at == held_.end() ? std::nullopt : std::optional(at->second);
}

std::optional<ReadAhead::Bytes> ReadAhead::take(std::uint32_t tensor) {
  std::unique_lock lock(mutex_);
  const bool waits = is_reading_once(tensor);
  changed_.wait(lock, [&] { return !is_reading_once(tensor); });
  const auto erased =
      std::erase_if(wanted_, [&](const Wanted& one) { return one.tensor == tensor && one.how == How::once; });
  auto bytes = take_out(tensor);
  return bytes || (!waits && erased == 0) ? std::move(bytes) : Bytes{};
}

std::optional<ReadAhead::Bytes> ReadAhead::take_out(std::uint32_t tensor) {
  auto found = once_.extract(tensor);
  if (found.empty()) return std::nullopt;
  std::erase(order_, tensor);
  once_bytes_ -= found.mapped().size;
  changed_.notify_all();
  return std::move(found.mapped());
}

void ReadAhead::make_way() {
  std::optional<Bytes> gone;  // freed without the lock
  const std::lock_guard lock(mutex_);
  if (waits_for_room_ && !order_.empty()) gone = take_out(order_.front());
}

void ReadAhead::release(std::uint32_t tensor) {
  std::optional<Bytes> gone;
  const std::lock_guard lock(mutex_);
  if (under_way_ && under_way_->tensor == tensor) under_way_.reset();
  std::erase_if(wanted_, [&](const Wanted& one) { return one.tensor == tensor; });
  held_.erase(tensor);
  gone = take_out(tensor);
  changed_.notify_all();
}

std::uint64_t ReadAhead::bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  for (const auto* all : {&held_, &once_}) {
    for (const auto& [tensor, one] : *all) bytes += one.size;
  }
  return bytes;
}

}  // namespace headrace::residency
