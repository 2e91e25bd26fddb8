#include "flow/loading/arrivals.hpp"

#include <headrace/error.hpp>

namespace headrace::flow {

std::shared_ptr<void> Arrivals::reserve(std::uint64_t bytes) {
  std::unique_lock lock(mutex_);
  // Without a line, a piece could be overtaken again and again, and tensors would be held that lack only that.
  std::condition_variable called;
  line_.push_back(&called);
  const auto fits = [&] { return reserved_ == 0 || (reserved_ < limit_ && bytes <= limit_ - reserved_); };
  called.wait(lock, [&] { return poisoned_ || (line_.front() == &called && fits()); });
  std::erase(line_, &called);
  if (poisoned_) throw Error(ErrorCode::cancelled, "loading has ended");
  reserved_ += bytes;
  call_first();
  lock.unlock();  // or the room couldn't be given back when there is no memory for its owner
  return {this, [bytes](Arrivals* arrivals) { arrivals->give_back(bytes); }};
}

void Arrivals::give_back(std::uint64_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  reserved_ -= bytes;
  call_first();
}

void Arrivals::call_first() noexcept {
  if (!line_.empty()) line_.front()->notify_one();
}

void Arrivals::push(Arrival arrival) {
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(arrival));
  came_.notify_one();
}

std::optional<Arrival> Arrivals::pop(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, time, [&] { return !queue_.empty() || none_will_come(); });
  if (queue_.empty()) return std::nullopt;
  std::optional<Arrival> arrival(std::move(queue_.front()));
  queue_.pop_front();
  return arrival;
}

void Arrivals::expect(unsigned workers) noexcept {
  const std::lock_guard lock(mutex_);
  workers_ = workers;
  came_.notify_all();
}

void Arrivals::leave() noexcept {
  const std::lock_guard lock(mutex_);
  ++left_;
  came_.notify_all();
}

bool Arrivals::over() const noexcept {
  const std::lock_guard lock(mutex_);
  return none_will_come();
}

void Arrivals::poison() noexcept {
  const std::lock_guard lock(mutex_);
  poisoned_ = true;
  for (std::condition_variable* waiting : line_) waiting->notify_one();
}

}  // namespace headrace::flow
