#include "residency/lent_pages.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace headrace::residency {
namespace {

// idle: still mapped. kept: not any more, but for pages that it had in common with one that was lent, or that the
// system wouldn't take; those may have been written to.
enum class Status : std::uint8_t { lent, idle, kept };

struct Loan {
  std::uint64_t end;
  Status status;
};

struct OfFile {
  explicit OfFile(const io::File& file) : mapping(file) {}

  const io::Mapping mapping;
  std::map<std::uint64_t, Loan> loans = {};  // by the first byte
};

// Of the loans between two that are lent, or the file's ends, none stays mapped: by one call, as each interrupts the
// other cores. Returns the bytes that were idle.
std::uint64_t forget_between(OfFile& file, std::map<std::uint64_t, Loan>::iterator first,
                             std::map<std::uint64_t, Loan>::iterator last) noexcept {
  std::uint64_t idle = 0;
  for (auto at = first; at != last; ++at)
    if (at->second.status == Status::idle) idle += at->second.end - at->first;
  if (idle == 0) return 0;
  const bool is_behind_one = first != file.loans.begin(), is_before_one = last != file.loans.end();
  const std::uint64_t begin = is_behind_one ? std::prev(first)->second.end : 0,
                      end = is_before_one ? last->first : file.mapping.bytes().size();
  const bool forgotten = file.mapping.forget(begin, end - begin);
  for (auto at = first; at != last;) {
    const bool at_an_edge = (at == first && is_behind_one) || (std::next(at) == last && is_before_one);
    if (at_an_edge || !forgotten) {
      at++->second.status = Status::kept;
    } else {
      at = file.loans.erase(at);
    }
  }
  return idle;
}

}  // namespace

class LentPages::Loans {
 public:
  explicit Loans(std::uint64_t most_idle) : most_idle_(most_idle) {}

  // Null where all of it isn't to be mapped.
  OfFile* of(const io::File& file) {
    const std::lock_guard lock(mutex_);
    const auto found = files_.find(&file);
    if (found != files_.end()) return &found->second;
    return io::may_map_more_than_needed() ? &files_.try_emplace(&file, file).first->second : nullptr;
  }

  // Where it is, and whether it is in memory; null where it isn't lent.
  std::pair<std::byte*, bool> take(OfFile& file, std::uint64_t first, std::uint64_t end) {
    std::byte* const at = &file.mapping.bytes()[first];
    {
      const std::lock_guard lock(mutex_);
      const auto next = file.loans.upper_bound(first);
      if (next != file.loans.end() && next->first < end) return {};
      const auto before = next == file.loans.begin() ? file.loans.end() : std::prev(next);
      if (before == file.loans.end() || before->second.end <= first) {
        file.loans.emplace_hint(next, first, Loan{end, Status::lent});
        return {at, false};
      }
      Loan& loan = before->second;
      if (before->first != first || loan.end != end || loan.status == Status::lent) return {};
      if (loan.status == Status::idle) idle_bytes_ -= end - first;
      loan.status = Status::lent;
    }
    const io::Mapping::State state = file.mapping.state_of(first, end - first);  // takes a while, without the lock
    if (!state.written_to) return {at, state.all_there};
    give_back(file, first, true);
    return {};
  }

  // `written_to`: it can't be lent before it is forgotten.
  void give_back(OfFile& file, std::uint64_t first, bool written_to = false) noexcept {
    const std::lock_guard lock(mutex_);
    const auto loan = file.loans.find(first);
    loan->second.status = Status::idle;
    idle_bytes_ += loan->second.end - first;
    if (written_to) forget_around(file, loan);
    if (idle_bytes_ <= most_idle_) return;
    for (auto& [key, one] : files_) forget_all(one);
  }

  void forget(const io::File& key, std::uint64_t first) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = files_.find(&key);
    if (found == files_.end()) return;
    OfFile& file = found->second;
    const auto loan = file.loans.find(first);
    if (loan == file.loans.end() || loan->second.status != Status::idle) return;
    idle_bytes_ -= loan->second.end - first;
    loan->second.status = Status::kept;
    file.mapping.forget(first, loan->second.end - first);
  }

 private:
  static bool is_lent(const std::pair<const std::uint64_t, Loan>& loan) noexcept {
    return loan.second.status == Status::lent;
  }

  void forget_around(OfFile& file, std::map<std::uint64_t, Loan>::iterator loan) noexcept {
    auto first = loan;
    while (first != file.loans.begin() && !is_lent(*std::prev(first))) --first;
    idle_bytes_ -= forget_between(file, first, std::find_if(loan, file.loans.end(), is_lent));
  }

  void forget_all(OfFile& file) noexcept {
    for (auto first = file.loans.begin();;) {
      const auto last = std::find_if(first, file.loans.end(), is_lent);
      idle_bytes_ -= forget_between(file, first, last);
      if (last == file.loans.end()) return;
      first = std::next(last);
    }
  }

  const std::uint64_t most_idle_;
  std::mutex mutex_;
  std::unordered_map<const io::File*, OfFile> files_;
  std::uint64_t idle_bytes_ = 0;
};

LentPages::LentPages(std::uint64_t most_idle) : loans_(std::make_shared<Loans>(most_idle)) {}

LentPages::Lent LentPages::lend(const io::File& file, std::uint64_t first, std::size_t count) {
  try {
    if (OfFile* const pages = loans_->of(file)) {
      if (const auto [at, is_there] = loans_->take(*pages, first, first + count); at != nullptr) {
        std::shared_ptr<std::byte> memory(
            at, [loans = loans_, pages, first](std::byte*) noexcept { loans->give_back(*pages, first); });
        return {std::move(memory), is_there, &pages->mapping, static_cast<std::size_t>(first), count};
      }
    }
    const auto own = std::make_shared<const io::Mapping>(file, first, count);
    return {{own, own->bytes().data()}, false, own.get(), 0, own->pages().size()};
  } catch (const Error&) {
    return {};  // a file system, or a limit, that has no mapping
  }
}

void LentPages::forget(const io::File& file, std::uint64_t first) noexcept { loans_->forget(file, first); }

}  // namespace headrace::residency
