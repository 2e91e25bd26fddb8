#include "base/workers.hpp"

#include "base/fpu.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <utility>

namespace headrace::base {

unsigned worker_count(unsigned wanted) noexcept {
  if (wanted != 0) return wanted;
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (::sched_getaffinity(0, sizeof(cores), &cores) == 0) return static_cast<unsigned>(std::max(1, CPU_COUNT(&cores)));
  return std::max(1U, std::thread::hardware_concurrency());
}

Workers::Workers(unsigned count, std::function<void()> body) : body_(std::move(body)) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // new threads inherit the mask
  threads_.reserve(count);
  try {
    for (unsigned i = 0; i < count; ++i) {
      const std::lock_guard lock(mutex_);
      threads_.emplace_back([this] { run(); });
      ++running_;
    }
  } catch (...) {
    if (threads_.empty()) {
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Workers::~Workers() {
  for (auto& thread : threads_) thread.join();
}

void Workers::run() noexcept {
  const FloatMode mode;
  body_();
  const std::lock_guard lock(mutex_);
  --running_;
  done_.notify_all();
}

bool Workers::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return done_.wait_for(lock, time, [&] { return running_ == 0; });
}

}  // namespace headrace::base
