// ReadSlots: how many pieces are read at once where a server answers, and none behind one that has failed.
#pragma once

#include <headrace/error.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <mutex>

namespace headrace::flow {

/// There are more workers than connections, so that the connections are busy while some convert and write. Who waits
/// for a connection must not begin to ask for bytes that nobody wants any more. Thread-safe.
class ReadSlots {
 public:
  /// `most`: pieces at once; 0: any number, for sources that don't make one wait.
  explicit ReadSlots(unsigned most) : free_(most), unlimited_(most == 0) {}

  /// Calls `read` when it is piece `number`'s turn. Throws what it throws, and Error(cancelled) for a piece that comes
  /// after one whose reading has failed.
  template <class Read>
  void run(std::uint64_t number, const Read& read) {
    if (unlimited_) return read();
    take(number);
    try {
      read();
    } catch (...) {
      give_back(number);
      throw;
    }
    give_back(kNone);
  }

 private:
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

  void take(std::uint64_t number) {
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [&] { return free_ > 0 || failed_ < number; });
    if (failed_ < number) throw Error(ErrorCode::cancelled, "a piece before this one has failed");
    --free_;
  }

  void give_back(std::uint64_t failed) {
    const std::lock_guard lock(mutex_);
    ++free_;
    failed_ = std::min(failed_, failed);
    freed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable freed_;
  unsigned free_;
  const bool unlimited_;
  std::uint64_t failed_ = kNone;  // the first piece whose reading failed
};

}  // namespace headrace::flow
