// CacheTrust: which tensors the system's cache keeps from one use to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace headrace::residency {

/// Of what is larger than the cache and used over and over in one order, a cache that drops what was used longest ago
/// has dropped each tensor by the time it is used again, and keeps nothing of use. So what it has lost is read past it
/// for a while: then the others stay in it. Now and again a tensor is given back to it, not all at once, the more
/// rarely the oftener it was lost, for there may be room now. Thread-safe.
class CacheTrust {
 public:
  explicit CacheTrust(std::size_t tensors) : count_(tensors) {}

  /// A tensor that the cache doesn't have will be read now. True: past the cache. Asked once for each use.
  bool reads_past(std::uint32_t tensor);
  /// A tensor was read into the cache, or is in it.
  void gave(std::uint32_t tensor, bool was_there);

 private:
  struct State {
    bool expected = false;    // it should be in the cache
    std::uint8_t losses = 0;  // since it was last found there
    std::uint16_t uses = 0;   // so many go past it still
  };

  State& of(std::uint32_t tensor);

  const std::size_t count_;
  std::mutex mutex_;
  std::vector<State> states_;  // made when a tensor is used
};

}  // namespace headrace::residency
