#include "residency/order.hpp"

#include <algorithm>

namespace headrace::residency {
namespace {

constexpr std::size_t kLongestLog = 16384;  // uses; a longer pass isn't recognised
constexpr std::size_t kContext = 8;         // recent uses that are compared
constexpr double kForget = 0.9;             // weight of the past in how far guesses are trusted

}  // namespace

void Order::used(std::uint32_t unit) {
  if (!upcoming_.empty()) trust_ = kForget * trust_ + (upcoming_.front() == unit ? 1 - kForget : 0);
  note(unit);
  expect_from(likeliest_start());
}

void Order::hint(std::span<const std::uint32_t> units) {
  if (units.empty()) return;
  const std::size_t before = log_.size();
  log_.insert(log_.end(), units.begin(), units.end());
  trust_ = 1;
  expect_from(before);
}

void Order::note(std::uint32_t unit) {
  if (log_.size() >= kLongestLog) log_.erase(log_.begin(), log_.begin() + kLongestLog / 2);
  log_.push_back(unit);
  last_[unit] = ++uses_;
}

// The place in the log whose uses are expected next; its end when there is none.
std::size_t Order::likeliest_start() const noexcept {
  const std::size_t now = log_.size();
  std::size_t best = now, longest = 0;
  for (std::size_t at = now - 1; at-- > 0;) {  // the latest first: of equals it is the one that counts
    std::size_t same = 0;
    while (same < kContext && same <= at && log_[at - same] == log_[now - 1 - same]) ++same;
    if (same <= longest) continue;
    longest = same;
    best = at + 1;
    if (same == kContext) break;
  }
  return best;
}

void Order::expect_from(std::size_t start) {
  std::ranges::fill(next_, kNever);
  upcoming_.clear();
  period_ = log_.size() - start;
  for (std::size_t i = start; i < log_.size(); ++i) {
    std::uint64_t& next = next_[log_[i]];
    if (next != kNever) continue;
    next = i - start + 1;
    upcoming_.push_back(log_[i]);
  }
}

}  // namespace headrace::residency
