// Order: what one model's units are used after, learned from what came before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace headrace::residency {

/// How many uses away a unit's next one is.
inline constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

/// Keeps the last uses. What comes next is what followed the last time that the most recent uses, as many of them as
/// possible, came in this order: so a unit that is used twice in a pass has a successor for each. From there on it
/// repeats. A wrong guess costs a read, never a wrong result.
/// Thread-safety: none.
class Order {
 public:
  /// One more unit of the model: numbers are below `units`.
  explicit Order(std::size_t units) : next_(units, kNever), last_(units, 0) {}

  void used(std::uint32_t unit);
  /// As if these had just been used in this order, and it began anew.
  void hint(std::span<const std::uint32_t> units);

  /// 1: it comes next. kNever: nothing is known.
  std::uint64_t next_use(std::uint32_t unit) const noexcept { return next_[unit]; }
  /// When it was used last, as a count of uses; 0: not yet.
  std::uint64_t last_use(std::uint32_t unit) const noexcept { return last_[unit]; }
  /// What is expected, each unit once, in the order of their next uses.
  std::span<const std::uint32_t> upcoming() const noexcept { return upcoming_; }
  /// Uses after which it repeats; 0: nothing is known.
  std::uint64_t period() const noexcept { return period_; }
  /// False while most guesses were wrong lately: then nothing should be given up for one.
  bool trusted() const noexcept { return trust_ >= 0.25; }

 private:
  void note(std::uint32_t unit);
  std::size_t likeliest_start() const noexcept;
  void expect_from(std::size_t start);

  std::vector<std::uint32_t> log_;  // the uses, oldest first
  std::vector<std::uint64_t> next_, last_;
  std::vector<std::uint32_t> upcoming_;
  std::uint64_t period_ = 0, uses_ = 0;
  double trust_ = 1;
};

}  // namespace headrace::residency
