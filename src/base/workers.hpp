// Workers: n threads that run one function, joined before their scope is left.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace headrace::base {

/// The number of threads to use when the caller asks for `wanted` (0: one per core this process may run on).
unsigned worker_count(unsigned wanted) noexcept;

/// Starts the threads at once; the destructor joins them. Each has the codecs' floating-point mode and leaves all
/// signals to the host program's threads.
class Workers {
 public:
  /// `body` runs once on each thread and must not throw: whoever shares work among threads also collects its errors.
  /// When the system refuses some of the threads, those that started do the work; throws only if none did.
  Workers(unsigned count, std::function<void()> body);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// How many threads were started.
  unsigned size() const noexcept { return static_cast<unsigned>(threads_.size()); }

  /// Waits until every body has returned (true) or the time is over (false).
  bool wait_for(std::chrono::milliseconds time);

 private:
  void run() noexcept;

  std::function<void()> body_;
  std::mutex mutex_;
  std::condition_variable done_;
  unsigned running_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace headrace::base
