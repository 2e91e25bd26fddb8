// What is promised, what has to go for it, and what may stay.
#include "residency/core.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>

#include <algorithm>
#include <ranges>
#include <utility>

namespace headrace::residency {

// On the device, when nobody has it leased.
bool Core::may_keep(const Entry& entry) const noexcept {
  if (!entry.unit.device || closed_ || device_account_.limit() == 0) return false;
  return entry.model.in_use || entry.unit.states.offload.place == Place::device;
}

// The host's form.
bool Core::may_hold(const Entry& entry) const noexcept {
  if (!entry.unit.host || closed_) return false;
  return entry.model.in_use || entry.unit.states.offload.place != Place::disk;
}

std::uint64_t Core::device_room() const {
  const std::uint64_t room = device_account_.room();
  if (!options_.watch_free_memory) return room;
  // What is promised and not yet allocated is in what the device says is free. Asked in this order, so that what is
  // allocated meanwhile counts twice rather than not at all.
  const std::uint64_t there = spares_.given() - freed_;
  const auto free = spares_.available();
  if (!free) return room;
  const std::uint64_t spoken_for = options_.reserve + device_account_.used() - std::min(device_account_.used(), there);
  return std::min(room, *free - std::min(*free, spoken_for));
}

// What a lease of it has to be promised, the least that will do.
std::uint64_t Core::need_of(const Entry& entry) const noexcept {
  if (entry.promised != Computation::none) return 0;
  return entry.kept_promised ? entry.unit.extra_bytes : entry.unit.all_bytes;
}

// How far away, in leases. A model that hasn't been used for a while is farther and farther.
std::uint64_t Core::next_use(const Entry& entry) const noexcept {
  if (!entry.model.in_use) return kNever;
  const std::uint64_t next = entry.model.order.next_use(entry.index());
  return next == kNever ? kNever : next + (counts_.leases - entry.model.last_lease);
}

// Units that may leave the device, for one that is used `sooner_than` they are: the farthest first.
std::vector<Entry*> Core::victims(const Set& spared, std::uint64_t sooner_than) {
  std::vector<Entry*> found;
  for (Entry& entry : entries_) {
    if (!entry.kept_here || !entry.idle() || std::ranges::find(spared, &entry) != spared.end()) continue;
    if (sooner_than == 0 || next_use(entry) > sooner_than) found.push_back(&entry);
  }
  std::ranges::sort(found, [&](const Entry* a, const Entry* b) {
    const std::uint64_t next_a = next_use(*a), next_b = next_use(*b);
    if (next_a != next_b) return next_a > next_b;
    return a->model.order.last_use(a->index()) < b->model.order.last_use(b->index());
  });
  return found;
}

// True when `need` bytes are free now. Else frees some if that can make it so; the lock is let go meanwhile, so whoever
// asked looks again. `sooner_than` 0: whatever isn't leased may go.
bool Core::make_room(Lock& lock, const Set& set, std::uint64_t need, std::uint64_t sooner_than) {
  const std::uint64_t room = device_room();
  if (need <= room) return true;
  Garbage garbage;
  garbage.makes_way = true;
  const auto candidates = victims(set, sooner_than);
  std::uint64_t enough = room;
  for (const Entry* entry : candidates) enough += entry->unit.kept_bytes;
  if (need > enough) return false;
  std::uint64_t freed = room;
  for (Entry* entry : candidates) {
    if (freed >= need) break;
    freed += entry->unit.kept_bytes;
    take_kept(*entry, garbage);
    ++counts_.evictions;
  }
  discard(lock, std::move(garbage));
  return false;
}

// True when the lease has its promises. False: it has to wait until something changes. Nobody else is promised anything
// meanwhile, so what is freed for it is its own.
bool Core::promise_lease(Lock& lock, const Set& set) {
  const auto need = [&] {
    std::uint64_t bytes = 0;
    for (const Entry* entry : set) bytes += need_of(*entry);
    return bytes;
  };
  const bool one_by_one = device_account_.limit() == 0;
  if (one_by_one && need() != 0 && device_account_.used() != 0) return false;
  while (!one_by_one && need() != 0 && !make_room(lock, set, need(), 0)) {
    std::uint64_t evictable = 0;
    for (const Entry* entry : victims(set, 0)) evictable += entry->unit.kept_bytes;
    if (need() <= device_room() + evictable || drop_own(lock, set, evictable)) continue;
    for (Entry& entry : entries_) {  // what is fetched ahead for others can wait
      if (entry.busy && entry.pins == 0 && std::ranges::find(set, &entry) == set.end()) entry.stop = true;
    }
    require_others(set, need());
    return false;
  }
  commit(set);
  return true;
}

// A form that is kept takes room beside the one it is cast to. Where both can't be there, the nearer is made alone.
bool Core::drop_own(Lock& lock, const Set& set, std::uint64_t evictable) {
  std::uint64_t need = 0, room = device_room() + evictable;
  for (const Entry* entry : set) {
    const bool can_go = entry->kept_here && entry->idle() && entry->unit.extra_bytes != 0;
    need += can_go ? entry->unit.all_bytes : need_of(*entry);
    if (can_go) room += entry->unit.kept_bytes;
  }
  if (need > room) return false;
  Garbage garbage;
  for (Entry* entry : set) {
    if (!entry->kept_here || !entry->idle() || entry->unit.extra_bytes == 0) continue;
    take_kept(*entry, garbage);
    ++counts_.evictions;
  }
  if (garbage.empty()) return false;
  discard(lock, std::move(garbage));
  return true;
}

// Waiting is for what others give back. If it is the device that has too little, nobody will.
void Core::require_others(const Set& set, std::uint64_t need) const {
  if (!options_.watch_free_memory || !discarding_.empty()) return;
  if (std::ranges::any_of(entries_, [](const Entry& entry) { return !entry.idle(); })) return;
  const std::uint64_t room = device_room();
  throw Error(ErrorCode::no_space,
              "the device hasn't the memory for " + (set.size() == 1 ? set.front()->unit.title() : "these units"),
              {.file = device_->name(),
               .expected = format_bytes(need) + " beside a reserve of " + format_bytes(options_.reserve),
               .found = format_bytes(room),
               .hint = "others use the device: its free memory is watched"});
}

// Room on the host for a form that is needed in so many uses, at the expense of those that are needed later.
bool Core::promise_host(Lock& lock, Entry& entry, std::uint64_t needed_in) {
  const std::uint64_t need = entry.unit.host_bytes;
  const auto promise = [&] {
    if (need > host_account_.room()) return false;
    host_account_.promise(need);
    return true;
  };
  if (promise()) return true;
  std::vector<Entry*> later;
  std::uint64_t enough = host_account_.room();
  for (Entry& other : entries_) {
    if (&other == &entry || !other.host_here || other.busy || next_use(other) <= needed_in) continue;
    later.push_back(&other);
    enough += other.unit.host_bytes;
  }
  if (need > enough) return false;
  std::ranges::sort(later, std::ranges::greater(), [&](const Entry* other) { return next_use(*other); });
  Garbage garbage;
  for (Entry* other : later) {
    if (host_account_.room() + garbage.host_promise >= need) break;
    take_host(*other, garbage);
    ++counts_.host_evictions;
  }
  discard(lock, std::move(garbage));
  return promise();
}

void Core::take_kept(Entry& entry, Garbage& garbage) {
  if (!entry.kept_promised) return;
  if (entry.ahead) ++counts_.prefetch_wasted;
  entry.kept_promised = entry.kept_here = entry.ahead = false;
  garbage.device.push_back(std::exchange(entry.kept, {}));
  garbage.device_promise += entry.unit.kept_bytes;
  garbage.unit = entry.number;
}

void Core::take_computation(Entry& entry, Garbage& garbage) {
  if (entry.promised == Computation::none) return;
  garbage.device_promise += entry.promised == Computation::all ? entry.unit.all_bytes : entry.unit.extra_bytes;
  garbage.device.push_back(std::exchange(entry.computation, {}));
  garbage.unit = entry.number;
  entry.promised = Computation::none;
  entry.computation_here = false;
}

void Core::take_host(Entry& entry, Garbage& garbage) {
  if (!entry.host_here) return;
  entry.host_here = false;
  garbage.host.push_back(std::exchange(entry.host, {}));
  garbage.host_promise += entry.unit.host_bytes;
  garbage.unit = entry.number;
}

// Takes what nobody has leased and may not stay.
void Core::trim(Entry& entry, Garbage& garbage) {
  if (!entry.idle()) return;
  take_computation(entry, garbage);
  if (!entry.kept_here || !may_keep(entry)) take_kept(entry, garbage);
  if (!may_hold(entry)) take_host(entry, garbage);
}

// Frees it without the lock, and only then says that there is room.
void Core::discard(Lock& lock, Garbage garbage) {
  if (garbage.empty()) return;
  const auto running = discarding_.insert(++discards_).first;
  lock.unlock();
  const auto begin = Clock::now();
  const std::uint64_t freed =
      garbage.makes_way ? spares_.keep(std::move(garbage.device)) : spares_.free(std::move(garbage.device));
  garbage.host.clear();
  trace_.add("evict", begin, garbage.unit, garbage.device_promise + garbage.host_promise);
  lock.lock();
  discarding_.erase(running);
  freed_ += freed;
  device_account_.give_back(garbage.device_promise);
  host_account_.give_back(garbage.host_promise);
  changed();
}

}  // namespace headrace::residency
