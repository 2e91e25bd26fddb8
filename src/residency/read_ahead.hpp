// ReadAhead: tensors that are fetched before they are wanted, on a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

namespace headrace::residency {

/// One after the other, in the order in which they were asked for, but for what has no room; the thread is there while
/// there is work.
/// Thread-safe.
class ReadAhead {
 public:
  /// into_cache: the system has what was read. held: it stays here until it is released. once: it stays here until it
  /// is taken, and no more of those than there is room for are read.
  enum class How : std::uint8_t { into_cache, held, once };

  struct Bytes {
    std::shared_ptr<std::byte> memory = {};  // null: nothing that could be held
    std::uint64_t size = 0;
  };
  /// Called on the thread; what it throws is nobody's business.
  using Fetch = std::function<Bytes(std::uint32_t tensor, How how)>;

  /// `room`: bytes that are read `once`; one tensor always has room.
  ReadAhead(std::uint64_t room, Fetch fetch) : room_(room), fetch_(std::move(fetch)) {}
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  /// True for what is wanted, or here, already.
  bool knows(std::uint32_t tensor) const;
  /// `bytes`: its size. Does nothing for what is known.
  void want(std::uint32_t tensor, How how, std::uint64_t bytes);
  /// What is held; nothing when it isn't here.
  std::optional<Bytes> find(std::uint32_t tensor) const;
  /// What was read `once`; waits for it while it is read. No memory when that wasn't begun, and it isn't wanted any
  /// more, or when it failed; nothing when nobody wanted it so.
  std::optional<Bytes> take(std::uint32_t tensor);
  /// Another tensor was used than those that are here: while there is no room for more, the oldest goes.
  void make_way();
  /// It isn't wanted any more.
  void release(std::uint32_t tensor);

  /// Of what is here.
  std::uint64_t bytes() const;

  /// Nothing more is begun.
  void stop() noexcept;
  const std::atomic<bool>& stopped() const noexcept { return stopped_; }

 private:
  struct Wanted {
    std::uint32_t tensor = 0;
    How how = How::into_cache;
    std::uint64_t bytes = 0;
  };

  bool knows_locked(std::uint32_t tensor) const;
  void run();
  std::deque<Wanted>::iterator first_with_room();
  void fetch(std::unique_lock<std::mutex>& lock, const Wanted& wanted);
  bool is_reading_once(std::uint32_t tensor) const noexcept {
    return under_way_ && under_way_->tensor == tensor && under_way_->how == How::once;
  }
  bool has_room(const Wanted& wanted) const noexcept {
    return wanted.how != How::once || once_bytes_ == 0 || once_bytes_ + wanted.bytes <= room_;
  }
  std::optional<Bytes> take_out(std::uint32_t tensor);

  const std::uint64_t room_;
  const Fetch fetch_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Wanted> wanted_;
  std::optional<Wanted> under_way_;  // not while nobody wants it any more
  bool waits_for_room_ = false;
  std::unordered_map<std::uint32_t, Bytes> held_, once_;
  std::deque<std::uint32_t> order_;  // of those read once, the oldest first
  std::uint64_t once_bytes_ = 0;     // here, or under way
  bool running_ = false;
  std::atomic<bool> stopped_{false};
  std::thread thread_;
};

}  // namespace headrace::residency
