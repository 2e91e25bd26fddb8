#include "residency/lent_pages.hpp"

#include "io/mapping.hpp"
#include "io/page_cache.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace headrace::residency {

class LentPages::OfFile {
 public:
  OfFile(const io::File& file, std::uint64_t most_idle) : mapping_(file), most_idle_(most_idle) {}

  /// Where it is, and whether nobody needs to bring it.
  std::pair<std::byte*, bool> take(std::uint64_t first, std::uint64_t end) {
    const std::lock_guard lock(mutex_);
    std::byte* const at = &mapping_.bytes()[first];
    const auto next = loans_.upper_bound(first);
    if (next != loans_.end() && next->first < end) return {};
    const auto loan = next == loans_.begin() ? loans_.end() : std::prev(next);
    if (loan == loans_.end() || loan->second.end <= first) {
      loans_.emplace_hint(next, first, Loan{end, State::lent});
      return {at, false};
    }
    const auto [same_end, state] = loan->second;
    const bool is_the_same = loan->first == first && same_end == end;
    if (!is_the_same || state == State::lent || mapping_.was_written_to(first, end - first)) return {};
    if (state == State::idle) idle_bytes_ -= end - first;
    loan->second.state = State::lent;
    return {at, state == State::idle};
  }

  bool bring(const io::File& file, std::uint64_t first, std::size_t count) const noexcept {
    return io::is_cached(file, first, count).value_or(false) || mapping_.populate(first, count);
  }

  void give_back(std::uint64_t first) noexcept {
    const std::lock_guard lock(mutex_);
    Loan& loan = loans_.find(first)->second;
    loan.state = State::idle;
    idle_bytes_ += loan.end - first;
    if (idle_bytes_ > most_idle_) forget();
  }

 private:
  // idle: still mapped. at_an_edge: not any more, but for a page that it had in common with one that was lent.
  enum class State : std::uint8_t { lent, idle, at_an_edge };
  struct Loan {
    std::uint64_t end;
    State state;
  };
  using Loans = std::map<std::uint64_t, Loan>;

  void forget() noexcept {
    auto first = loans_.begin();
    std::uint64_t begin = 0;
    for (auto at = loans_.begin(); at != loans_.end(); ++at) {
      if (at->second.state != State::lent) continue;
      forget(first, at, begin, at->first);
      first = std::next(at);
      begin = at->second.end;
    }
    forget(first, loans_.end(), begin, mapping_.bytes().size());
    idle_bytes_ = 0;
  }

  // All between two that are lent by one call, which interrupts the other cores. Both may have a page in common with
  // what is beside them: that stays, and may have been written to.
  void forget(Loans::iterator first, Loans::iterator last, std::uint64_t begin, std::uint64_t end) noexcept {
    if (std::none_of(first, last, [](const auto& loan) { return loan.second.state == State::idle; })) return;
    mapping_.forget(begin, end - begin);
    const bool is_behind_one = begin != 0, is_before_one = last != loans_.end();
    for (auto at = first; at != last;) {
      if ((at == first && is_behind_one) || (std::next(at) == last && is_before_one)) {
        at++->second.state = State::at_an_edge;
      } else {
        at = loans_.erase(at);
      }
    }
  }

  const io::Mapping mapping_;
  const std::uint64_t most_idle_;
  std::mutex mutex_;
  Loans loans_;  // by the first byte
  std::uint64_t idle_bytes_ = 0;
};

std::shared_ptr<LentPages::OfFile> LentPages::of(const io::File& file) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<OfFile>& found = files_[&file];
  if (!found) found = std::make_shared<OfFile>(file, most_idle_);
  return found;
}

std::shared_ptr<std::byte> LentPages::lend(const io::File& file, std::uint64_t first, std::size_t count) {
  try {
    const std::shared_ptr<OfFile> pages = of(file);
    const auto [at, is_there] = pages->take(first, first + count);
    if (at == nullptr) return nullptr;
    std::shared_ptr<std::byte> lent(at, [pages, first](std::byte*) noexcept { pages->give_back(first); });
    return is_there || pages->bring(file, first, count) ? lent : nullptr;
  } catch (const Error&) {
    return nullptr;  // a file system, or a limit, that has no mapping
  }
}

}  // namespace headrace::residency
