#include "format/zip/in_parallel.hpp"

#include "base/workers.hpp"

#include <algorithm>
#include <exception>
#include <mutex>

namespace headrace::format::zip {
namespace {

// What the threads share.
class Queue {
 public:
  Queue(std::size_t count, const std::function<void(std::size_t)>& work)
      : work_(work), left_(count), error_at_(count) {}

  void run() noexcept {
    for (;;) {
      std::unique_lock lock(mutex_);
      if (left_ == 0) return;
      const std::size_t i = next_++;
      --left_;
      lock.unlock();
      try {
        work_(i);
      } catch (...) {
        lock.lock();
        left_ = 0;  // those before this one have been taken already
        if (i >= error_at_) continue;
        error_ = std::current_exception();
        error_at_ = i;
      }
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const std::function<void(std::size_t)>& work_;
  std::mutex mutex_;
  std::size_t next_ = 0, left_;
  std::exception_ptr error_;
  std::size_t error_at_;
};

}  // namespace

void in_parallel(const io::ByteSource& source, std::size_t count, const std::function<void(std::size_t)>& work) {
  const std::size_t threads =
      source.file() ? 1 : std::min<std::size_t>(count, base::worker_count(source.parallel_reads()));
  if (threads <= 1) {
    for (std::size_t i = 0; i < count; ++i) work(i);
    return;
  }
  Queue queue(count, work);
  {
    const base::Workers workers(static_cast<unsigned>(threads), [&queue] { queue.run(); });
  }
  queue.rethrow();
}

}  // namespace headrace::format::zip
