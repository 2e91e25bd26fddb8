#include "residency/cache_trust.hpp"

#include <algorithm>

namespace headrace::residency {
namespace {

// Uses that go past the cache after the first loss, at least; twice as many after each other one.
constexpr unsigned kFewest = 8, kMostDoubled = 4;
// Tensors that lie beside each other, and are given back together: the system reads more than one asks for.
constexpr std::uint32_t kTogether = 16;

}  // namespace

CacheTrust::State& CacheTrust::of(std::uint32_t tensor) {
  if (states_.empty()) states_.resize(count_);
  return states_[tensor];
}

bool CacheTrust::reads_past(std::uint32_t tensor) {
  const std::lock_guard lock(mutex_);
  State& state = of(tensor);
  if (state.expected) {
    const unsigned fewest = kFewest << std::min<unsigned>(state.losses, kMostDoubled);
    state.expected = false;
    state.losses = static_cast<std::uint8_t>(std::min<unsigned>(state.losses + 1U, kMostDoubled));
    state.uses = static_cast<std::uint16_t>(fewest + tensor / kTogether % fewest);
  }
  if (state.uses == 0) return false;
  --state.uses;
  return true;
}

void CacheTrust::gave(std::uint32_t tensor, bool was_there) {
  const std::lock_guard lock(mutex_);
  State& state = of(tensor);
  if (was_there && state.expected) state.losses = 0;  // it has stayed; else somebody has just brought it
  state.expected = true;
  state.uses = 0;
}

}  // namespace headrace::residency
