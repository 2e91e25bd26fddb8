// Trace: the last things that happened, for Chrome's trace viewer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace headrace::residency {

using Clock = std::chrono::steady_clock;

/// What an event is about: a unit's number among all of the manager's.
inline constexpr std::uint32_t kNoUnit = static_cast<std::uint32_t>(-1);

/// A ring of events. Thread-safe.
class Trace {
 public:
  /// Keeps the last `events`; 0: keeps none and costs nothing.
  explicit Trace(std::size_t events) : most_(events), begun_(Clock::now()) {}

  bool on() const noexcept { return most_ != 0; }
  /// From `begin` until now, on the thread that calls. `what`: static storage.
  void add(const char* what, Clock::time_point begin, std::uint32_t unit, std::uint64_t bytes = 0);
  /// A JSON array of complete events. `name_of` gives a unit's name. Throws Error(io).
  void write(const std::filesystem::path& path, const std::function<std::string(std::uint32_t unit)>& name_of) const;

 private:
  struct Event {
    const char* what;
    Clock::time_point begin, end;
    std::uint32_t thread, unit;
    std::uint64_t bytes;
  };

  const std::size_t most_;
  const Clock::time_point begun_;
  mutable std::mutex mutex_;
  std::vector<Event> events_;
  std::size_t oldest_ = 0;  // of a full ring
  std::map<std::thread::id, std::uint32_t> threads_;
};

}  // namespace headrace::residency
