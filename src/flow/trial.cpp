#include "flow/trial.hpp"

#include <utility>

namespace headrace::flow {
namespace {

constexpr std::uint64_t kFirstLook = std::uint64_t{1} << 20;  // elements before anything is guessed from them
constexpr long double kMargin = 1.05L;                        // how sure a guess has to be, of sums of squares
constexpr long double kWell = 0.8L;

}  // namespace

Trial::Trial(std::vector<DType> ladder, double limit, std::uint64_t elements, std::size_t first, std::size_t sure)
    : ladder_(std::move(ladder)),
      limit_(limit),
      elements_(elements),
      first_(first),
      sure_(sure),
      candidates_(ladder_.size()) {}

// The figure that reports show, so that a limit read off one holds. Rounding keeps order: what is too much for some of
// a sum is too much for all of it.
bool Trial::exceeds(const Difference& sums, long double squared) const noexcept {
  Difference of_all = sums;
  of_all.squared = squared;
  return of_all.relative_rmse() > limit_;
}

std::size_t Trial::next(std::size_t from) const {
  const std::lock_guard lock(mutex_);
  bool wait = false;
  for (std::size_t i = first_; i < candidates_.size(); ++i) {
    const Candidate& candidate = candidates_[i];
    const bool worth = !candidate.failed && !candidate.is_out && !wait;
    if (i >= from && (worth || (i == sure_ && !candidate.failed))) return i;
    wait = wait || candidate.does_well;
  }
  return candidates_.size();
}

void Trial::add(std::size_t i, const PieceErrors& errors, std::uint64_t elements) {
  const std::lock_guard lock(mutex_);
  Candidate& candidate = candidates_[i];
  candidate.errors.add(errors);
  candidate.tried += elements;
  if (candidate.tried < kFirstLook) return;
  const Difference sums = candidate.errors.total();
  // As if the rest were like this.
  const long double of_all =
      sums.squared * (static_cast<long double>(elements_) / static_cast<long double>(candidate.tried));
  candidate.is_out = exceeds(sums, kMargin * of_all);
  candidate.does_well = !exceeds(sums, kWell * sums.squared);
}

void Trial::fail(std::size_t i) {
  const std::lock_guard lock(mutex_);
  candidates_[i].failed = true;
}

bool Trial::complete(const PieceErrors& any, std::uint64_t elements) {
  const std::lock_guard lock(mutex_);
  all_.add(any);
  seen_ += elements;
  return seen_ == elements_;
}

std::optional<std::size_t> Trial::settled(std::size_t& open) const {
  const std::lock_guard lock(mutex_);
  const long double squared = all_.total().squared;
  for (std::size_t i = first_; i < candidates_.size(); ++i) {
    const Candidate& candidate = candidates_[i];
    if (candidate.failed || exceeds(candidate.errors.total(), squared)) continue;
    if (candidate.tried == elements_) return i;
    open = i;
    return std::nullopt;
  }
  return candidates_.size();
}

}  // namespace headrace::flow
