// Arrivals: what workers have sent on its way, for the thread that waits for it to be there.
#pragma once

#include <headrace/device.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace headrace::flow {

/// Bytes of one tensor, or of several, that are there when all uploads are done.
struct Arrival {
  struct Part {
    std::uint32_t tensor = 0;
    std::uint64_t bytes = 0;
  };

  std::vector<Part> parts = {};
  std::shared_ptr<void> holder = {};  // what the uploads read from, or the room that was reserved
  std::vector<Upload> uploads = {};   // after the holder, so that they are over before it goes
};

/// A queue, and the limit on bytes that nothing else limits: of tensors that are made in place. Thread-safe. Must
/// outlive what was reserved.
class Arrivals {
 public:
  explicit Arrivals(std::uint64_t limit) : limit_(limit) {}

  /// Room for bytes that are about to be made in place, until what it returns is dropped: the holder of their arrival.
  /// Waits in line while they would be more than the limit with those before; what is larger than that by itself goes
  /// alone. Throws Error(cancelled) once it is poisoned.
  std::shared_ptr<void> reserve(std::uint64_t bytes);

  void push(Arrival arrival);
  /// The next one; nothing when the time is over, or none will come any more.
  std::optional<Arrival> pop(std::chrono::milliseconds time);

  /// How many workers there are; said once.
  void expect(unsigned workers) noexcept;
  /// Each worker says when it is done.
  void leave() noexcept;
  /// True when all workers have left and all arrivals were taken.
  bool over() const noexcept;

  /// Every wait for room, now and later, ends with Error(cancelled).
  void poison() noexcept;

 private:
  void give_back(std::uint64_t bytes) noexcept;
  void call_first() noexcept;
  bool none_will_come() const noexcept { return queue_.empty() && workers_ == left_; }

  const std::uint64_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::condition_variable*> line_;  // who waits for room; the first is called
  std::uint64_t reserved_ = 0;                 // bytes
  std::deque<Arrival> queue_;                  // after what its holders give back to
  std::optional<unsigned> workers_;
  unsigned left_ = 0;
  bool poisoned_ = false;
};

}  // namespace headrace::flow
