// What is made, for leases and ahead of them.
#include "residency/core.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <exception>
#include <utility>

namespace headrace::residency {

// Makes what a unit has been promised and hasn't got. The lock is let go meanwhile; nobody takes from a busy unit.
// What was made of a form that failed is freed; its promise stays as long as a lease wants it.
void Core::make(Lock& lock, Entry& entry, bool host_promised, const std::function<void()>& check) {
  entry.busy = true;
  entry.stop = false;
  const bool kept_wanted = entry.kept_promised && !entry.kept_here;
  const bool computation_wanted = entry.promised != Computation::none && !entry.computation_here;
  if (!host_promised && !entry.host_here && !entry.kept_here && may_hold(entry)) {
    const std::uint64_t next = next_use(entry), period = entry.model.order.period();
    host_promised = promise_host(lock, entry, next > kNever - period ? kNever : next + period);
  }
  Form host, kept, computation;
  const Material material{.kept = entry.kept_here ? &entry.kept : nullptr,
                          .host = entry.host_here ? &entry.host : nullptr};
  const Wanted wanted{.host = host_promised ? &host : nullptr,
                      .kept = kept_wanted ? &kept : nullptr,
                      .computation = computation_wanted ? &computation : nullptr,
                      .only_differing = entry.promised == Computation::differing};
  lock.unlock();
  std::exception_ptr failure;
  try {
    maker_.make(entry.unit, entry.number, material, wanted, check);
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  entry.busy = false;
  Garbage garbage;
  if (!failure) {
    if (host_promised) entry.host = std::move(host);
    if (kept_wanted) entry.kept = std::move(kept);
    if (computation_wanted) entry.computation = std::move(computation);
    entry.host_here = entry.host_here || host_promised;
    entry.kept_here = entry.kept_here || kept_wanted;
    entry.computation_here = entry.computation_here || computation_wanted;
  } else {
    entry.ahead = entry.ahead && entry.stop;  // an error isn't waste
    if (host_promised) garbage.host_promise += entry.unit.host_bytes;
    garbage.host.push_back(std::move(host));
    garbage.device.push_back(std::move(kept));
    garbage.device.push_back(std::move(computation));
  }
  // It stays busy until what is left over has been freed; leases may have come and gone meanwhile.
  for (trim(entry, garbage); !garbage.empty(); trim(entry, garbage)) {
    entry.busy = true;
    discard(lock, std::exchange(garbage, {}));
    entry.busy = false;
  }
  changed();
  if (failure) std::rethrow_exception(failure);
}

// What a fetcher does.
void Core::fetch() noexcept {
  Lock lock(mutex_);
  while (!closed_) {
    const std::uint64_t before = changes_;
    if (const auto job = next_job(lock)) {
      run(lock, *job);
    } else if (!closed_ && changes_ == before) {
      changed_.wait(lock);
    }
  }
}

void Core::run(Lock& lock, const Job& job) noexcept {
  Entry& entry = *job.entry;
  const bool ahead = entry.ahead;
  try {
    make(lock, entry, job.host, [&entry] {
      if (entry.stop) throw Error(ErrorCode::cancelled, "others need the room");
    });
  } catch (const std::exception&) {
    // The lease that needs it will try again, and meet the same if it lasts.
    if (entry.stop) return;
    entry.failed = true;
    if (ahead) ++counts_.prefetch_failed;
    changed();
  }
}

// First what a lease waits for, then what will be leased, then what may be near because its model is in use.
std::optional<Core::Job> Core::next_job(Lock& lock) {
  for (Entry& entry : entries_) {
    if (entry.pins != 0 && !entry.busy && !entry.failed && !entry.ready()) return Job{&entry, false};
  }
  if (!waiting_.empty()) return std::nullopt;
  if (const auto job = job_ahead(lock)) return job;
  if (closed_ || !waiting_.empty()) return std::nullopt;
  return job_idle(lock);
}

// Not where its model's state wants it shortly before use.
bool Core::is_missing(const Entry& entry) const noexcept {
  if (!entry.idle() || entry.failed) return false;
  if (entry.unit.device) return !entry.kept_promised && may_keep(entry);
  return entry.unit.states.preparing.place == Place::host && !entry.host_here && may_hold(entry);
}

// The first of the units that are expected and aren't there. `expected_soon`: fewer are ready before it than shall be.
Entry* Core::next_missing(const Model& model, bool& expected_soon) {
  unsigned ready = 0;
  for (const std::uint32_t index : model.order.upcoming()) {
    Entry& entry = entries_[model.first_unit + index];
    if (is_missing(entry)) {
      expected_soon = ready < options_.ahead && model.order.trusted();
      return &entry;
    }
    if (entry.ahead) ++ready;
  }
  return nullptr;
}

std::optional<Core::Job> Core::job_ahead(Lock& lock) {
  Entry* nearest = nullptr;
  bool soon = false;
  for (const Model& model : models_) {
    if (!model.in_use) continue;
    bool expected_soon = false;
    Entry* entry = next_missing(model, expected_soon);
    if (entry == nullptr || (nearest != nullptr && next_use(*entry) >= next_use(*nearest))) continue;
    nearest = entry;
    soon = expected_soon;
  }
  if (nearest == nullptr) return std::nullopt;
  if (!nearest->unit.device) {
    const std::uint64_t needed_in = soon ? next_use(*nearest) : kNever;
    if (!promise_host(lock, *nearest, needed_in)) return std::nullopt;
    if (is_missing(*nearest)) return Job{nearest, true};
    host_account_.give_back(nearest->unit.host_bytes);
    return std::nullopt;
  }
  if (!promise_ahead(lock, *nearest, soon)) return std::nullopt;
  return Job{nearest, false};
}

// Takes it for the device, if there is room, or if room may be made. The lock may have been let go for that.
bool Core::promise_ahead(Lock& lock, Entry& entry, bool at_others_expense) {
  if (device_account_.limit() == 0) return false;
  const std::uint64_t sooner_than = at_others_expense ? next_use(entry) : kNever;
  while (!make_room(lock, {&entry}, entry.unit.kept_bytes, sooner_than)) {
    // It has freed something, if that could help; else there is nothing to free.
    if (closed_ || !waiting_.empty() || !is_missing(entry) || entry.unit.kept_bytes > device_room()) return false;
  }
  if (closed_ || !waiting_.empty() || !is_missing(entry)) return false;
  device_account_.promise(entry.unit.kept_bytes);
  entry.kept_promised = entry.ahead = true;
  ++counts_.prefetched;
  return true;
}

// Without anybody's having to go.
std::optional<Core::Job> Core::job_idle(Lock& lock) {
  for (Entry& entry : entries_) {
    if (!entry.model.in_use || !entry.idle() || entry.failed) continue;
    const Place place = entry.unit.states.onload.place;
    const bool device = place == Place::device && is_missing(entry) && entry.unit.kept_bytes <= device_room();
    if (device && promise_ahead(lock, entry, false)) return Job{&entry, false};
    const bool host = entry.unit.states.onload.place == Place::host && !entry.host_here && may_hold(entry);
    if (!host || entry.unit.host_bytes > host_account_.room()) continue;
    host_account_.promise(entry.unit.host_bytes);
    return Job{&entry, true};
  }
  return std::nullopt;
}

}  // namespace headrace::residency
