// A lease's way: in line, its promises, its units, its end.
#include "residency/core.hpp"

#include "format/printable.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

namespace headrace::residency {

struct Core::Request {
  const Set& set;
  const CancelToken& cancel;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<Clock::time_point> deadline;
};

namespace {

std::string titles(const Core::Set& set) {
  constexpr std::size_t kMostTold = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(set.size(), kMostTold); ++i)
    text += (i == 0 ? "'" : ", '") + format::printable(set[i]->unit.title()) + "'";
  if (set.size() > kMostTold) text += fmt::format(" and {} more", set.size() - kMostTold);
  return text;
}

}  // namespace

void Core::require_possible(const Set& set) const {
  if (device_account_.limit() == 0) return;
  std::uint64_t bytes = 0;
  for (const Entry* entry : set) bytes += entry->unit.all_bytes;
  if (bytes <= device_account_.limit()) return;
  throw Error(ErrorCode::no_space,
              fmt::format("{} {} {} bytes larger than the limit", titles(set), set.size() == 1 ? "is" : "are together",
                          bytes - device_account_.limit()),
              {.file = device_->name(),
               .expected = fmt::format("at most {} bytes on the device", device_account_.limit()),
               .found = std::to_string(bytes),
               .hint = "raise the limit, lease fewer units at once, or cut the model into smaller ones"});
}

void Core::lease(const Set& set, std::optional<std::chrono::milliseconds> timeout, const CancelToken& cancel) {
  const auto begin = Clock::now();
  Request request{set, cancel, timeout, {}};
  if (timeout) request.deadline = begin + *timeout;
  cancel.throw_if_cancelled();
  require_possible(set);
  const auto wake = cancel.on_cancel([this] {
    const std::lock_guard lock(mutex_);
    changed();
  });
  Lock lock(mutex_);
  const bool at_once = waiting_.empty() && std::ranges::all_of(set, &Entry::ready);
  try {
    admit(lock, request);
    try {
      settle(lock, request);
    } catch (...) {
      unpin(lock, set);
      throw;
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    changed();
    lock.unlock();
    trace_.add("wait, in vain", begin, set.empty() ? kNoUnit : set.front()->number);
    throw;
  }
  if (at_once) return;
  ++counts_.stalls;
  counts_.stalled_seconds += std::chrono::duration<double>(Clock::now() - begin).count();
  lock.unlock();
  trace_.add("wait", begin, set.empty() ? kNoUnit : set.front()->number);
}

// In line until it has its promises: who comes later can't take what the first one waits for.
void Core::admit(Lock& lock, const Request& request) {
  waiting_.push_back(&request);
  try {
    while (waiting_.front() != &request || !promise_lease(lock, request.set)) wait(lock, request);
  } catch (...) {
    std::erase(waiting_, &request);
    changed();
    throw;
  }
  waiting_.pop_front();
  changed();
}

// Throws when it is no use to wait any longer.
void Core::wait(Lock& lock, const Request& request) {
  const auto require_patience = [&] {
    if (closed_) throw Error(ErrorCode::cancelled, "the residency manager has gone");
    request.cancel.throw_if_cancelled();
  };
  require_patience();
  if (!request.deadline) {
    changed_.wait(lock);
  } else if (changed_.wait_until(lock, *request.deadline) == std::cv_status::timeout) {
    refuse_wait(request);
  }
  require_patience();
}

void Core::refuse_wait(const Request& request) const {
  std::string holders;
  std::uint64_t held = 0;
  for (const Entry& entry : entries_) {
    if (entry.idle() || std::ranges::find(request.set, &entry) != request.set.end()) continue;
    held += entry.unit.all_bytes;
    if (holders.size() > 300) continue;
    holders += fmt::format("{}'{}'{}", holders.empty() ? "" : ", ", format::printable(entry.unit.title()),
                           entry.pins != 0 ? " (leased)" : " (being fetched)");
  }
  throw Error(ErrorCode::cancelled,
              fmt::format("{} didn't come within {} ms", titles(request.set), request.timeout->count()),
              {.file = device_->name(),
               .found = holders.empty() ? "nobody has the room: reading takes longer"
                                        : fmt::format("{} held by {}", format_bytes(held), holders),
               .hint = "a longer timeout, a larger limit, or leases that are released sooner"});
}

// Nothing throws here: the set is promised and pinned as a whole.
void Core::commit(const Set& set) {
  ++counts_.leases;
  for (Entry* entry : set) {
    ++counts_.units;
    ++entry->pins;
    if (entry->kept_here || entry->ready()) ++counts_.hits;
    if (std::exchange(entry->ahead, false)) ++counts_.prefetch_used;
    device_account_.promise(need_of(*entry));
    if (entry->promised != Computation::none) continue;
    if (entry->kept_promised) {
      if (entry->unit.extra_bytes != 0 || !entry->kept_suffices()) entry->promised = Computation::differing;
    } else if (may_keep(*entry) && entry->kept_suffices()) {
      entry->kept_promised = true;
    } else {
      entry->promised = Computation::all;
    }
  }
  for (Entry* entry : set) {
    entry->model.last_lease = counts_.leases;
    entry->model.order.used(entry->index());
    // With room to spare it is kept as well as cast: the next lease needn't read it then.
    const Unit& unit = entry->unit;
    const std::uint64_t both = unit.kept_bytes + unit.extra_bytes;
    if (entry->promised != Computation::all || entry->computation_here || entry->busy || !may_keep(*entry)) continue;
    if (entry->pins != 1 || both - unit.all_bytes > device_room()) continue;
    device_account_.promise(both - unit.all_bytes);
    entry->kept_promised = true;
    entry->promised = Computation::differing;
  }
}

// Until all units are there. What nobody makes yet, this thread makes; fetchers may help.
void Core::settle(Lock& lock, const Request& request) {
  for (;;) {
    Entry* unmade = nullptr;
    bool all = true;
    for (Entry* entry : request.set) {
      if (entry->ready()) continue;
      all = false;
      if (!entry->busy && unmade == nullptr) unmade = entry;
    }
    if (all) return;
    if (unmade != nullptr) {
      make_or_make_room(lock, request, *unmade);
    } else {
      wait(lock, request);
    }
  }
}

// A device that has less than it was thought to have may have enough without what isn't leased. Whatever went wrong
// ahead of use, it is tried again here, and this caller is told.
void Core::make_or_make_room(Lock& lock, const Request& request, Entry& entry) {
  const auto check = [&] { request.cancel.throw_if_cancelled(); };
  try {
    make(lock, entry, false, check);
    entry.failed = false;
  } catch (const Error& error) {
    entry.failed = entry.failed || error.code() != ErrorCode::cancelled;
    if (error.code() != ErrorCode::no_space) throw;
    Garbage garbage;
    for (Entry* other : victims(request.set, 0)) {
      take_kept(*other, garbage);
      ++counts_.evictions;
    }
    if (garbage.empty()) throw;
    discard(lock, std::move(garbage));
    if (!entry.busy && !entry.ready()) make(lock, entry, false, check);
    entry.failed = false;
  }
}

void Core::unpin(Lock& lock, const Set& set) {
  Garbage garbage;
  for (Entry* entry : set) {
    if (--entry->pins == 0 && entry->busy) entry->stop = true;  // a fetcher makes it, and nobody wants it any more
    trim(*entry, garbage);
  }
  discard(lock, std::move(garbage));
  changed();
}

void Core::release(const Set& set, Clock::time_point since) noexcept {
  for (const Entry* entry : set) trace_.add("leased", since, entry->number, entry->unit.all_bytes);
  Lock lock(mutex_);
  unpin(lock, set);
}

}  // namespace headrace::residency
