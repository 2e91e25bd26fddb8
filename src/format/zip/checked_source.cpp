#include "format/zip/checked_source.hpp"

#include "format/zip/in_parallel.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace headrace::format::zip {
namespace {

// What is kept at most: of one entry, and of all. Tensors are read in pieces of nearly a megabyte and mostly in order,
// so a handful of runs is usual; a view of every second row of a matrix makes one a row.
constexpr std::size_t kMostRuns = 1024, kMostRunsInAll = 16 << 10, kMostEntries = 4096;
constexpr std::size_t kEntryBytes = 96;  // of an entry's list, about
constexpr std::size_t kBuffer = std::size_t{128} << 10;

}  // namespace

CheckedSource::CheckedSource(std::shared_ptr<Opened> archive)
    : archive_(std::move(archive)), source_(*archive_->source), states_(archive_->directory.entries.size()) {}

std::size_t CheckedSource::memory_for(std::size_t entries) noexcept {
  const std::size_t lists = std::min(entries, kMostEntries);
  return entries * sizeof(State) + lists * kEntryBytes +
         std::min(lists * kMostRuns, kMostRunsInAll) * sizeof(Run) * 2;  // a vector may be twice its size
}

std::size_t CheckedSource::memory() const noexcept {
  return archive_->directory.memory() + source_.memory() + memory_for(states_.size());
}

void CheckedSource::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  source_.read_at(offset, out);
  note(offset, out, true);
}

void CheckedSource::look_at(std::uint64_t offset, std::span<std::byte> out) const {
  source_.read_at(offset, out);
  note(offset, out, false);
}

// Gives each stored entry its part of these bytes.
void CheckedSource::note(std::uint64_t offset, std::span<const std::byte> bytes, bool begins) const {
  const Directory& directory = archive_->directory;
  if (!directory.has_checksums) return;
  const std::uint64_t end = offset + bytes.size();
  const auto data_end = [&](std::uint32_t number) {
    return directory.entries[number].data_offset + directory.entries[number].stored_bytes;
  };
  auto at = std::ranges::upper_bound(directory.by_offset, offset, {}, data_end);
  for (; at != directory.by_offset.end(); ++at) {
    const Entry& entry = directory.entries[*at];
    if (entry.data_offset >= end) break;
    const std::uint64_t from = std::max(offset, entry.data_offset), to = std::min(end, data_end(*at));
    if (entry.deflated || from >= to) continue;
    note_entry(*at, from, bytes.subspan(static_cast<std::size_t>(from - offset), static_cast<std::size_t>(to - from)),
               begins);
  }
}

// Takes what nobody has taken yet of these bytes of one entry, and adds its checksum. That is computed unlocked.
void CheckedSource::note_entry(std::uint32_t number, std::uint64_t offset, std::span<const std::byte> bytes,
                               bool begins) const {
  const std::uint64_t end = offset + bytes.size();
  std::unique_lock lock(mutex_);
  State& state = states_[number];
  if (begins && state == State::untouched) state = State::begun;
  for (std::uint64_t at = offset; at < end;) {
    if (state == State::good || state == State::scattered) return;
    if (!has_room_for(number)) {
      if (begins) scatter(number);
      return;
    }
    Runs& runs = runs_[number];
    const auto next = std::ranges::upper_bound(runs, at, {}, &Run::end);
    if (next != runs.end() && next->begin <= at) {
      at = next->end;
      continue;
    }
    const std::uint64_t to = next == runs.end() ? end : std::min(end, next->begin);
    runs.insert(next, {at, to, 0, false});
    ++run_count_;
    lock.unlock();
    const auto part = bytes.subspan(static_cast<std::size_t>(at - offset), static_cast<std::size_t>(to - at));
    const std::uint32_t crc = crc32(0, part);
    lock.lock();
    settle(number, at, crc);
    at = to;
  }
}

bool CheckedSource::has_room_for(std::uint32_t number) const {
  if (run_count_ >= kMostRunsInAll) return false;
  const auto runs = runs_.find(number);
  return runs == runs_.end() ? runs_.size() < kMostEntries : runs->second.size() < kMostRuns;
}

void CheckedSource::scatter(std::uint32_t number) const {
  states_[number] = State::scattered;
  const auto runs = runs_.find(number);
  if (runs == runs_.end()) return;
  run_count_ -= runs->second.size();
  runs_.erase(runs);
}

// A run's checksum is there: joins it with its neighbours, and checks the entry when that makes it whole.
void CheckedSource::settle(std::uint32_t number, std::uint64_t begin, std::uint32_t crc) const {
  const auto found = runs_.find(number);
  if (found == runs_.end()) return;  // scattered meanwhile
  Runs& runs = found->second;
  auto run = std::ranges::lower_bound(runs, begin, {}, &Run::begin);
  if (run == runs.end() || run->begin != begin) return;  // or scattered and begun anew
  run->crc = crc;
  run->ready = true;
  const auto join_with_next = [&](Runs::iterator first) {
    const auto second = std::next(first);
    first->crc = joiner_.join(first->crc, second->crc, second->end - second->begin);
    first->end = second->end;
    runs.erase(second);
    --run_count_;
  };
  const auto touch = [](const Run& a, const Run& b) { return a.end == b.begin && a.ready && b.ready; };
  if (std::next(run) != runs.end() && touch(*run, *std::next(run))) join_with_next(run);
  if (run != runs.begin() && touch(*std::prev(run), *run)) join_with_next(--run);

  const Entry& entry = archive_->directory.entries[number];
  if (run->end - run->begin != entry.stored_bytes) return;
  const std::uint32_t whole = run->crc;
  --run_count_;
  runs_.erase(found);
  check_crc(*archive_, entry, whole);
  states_[number] = State::good;
}

CheckedSource::State CheckedSource::state_of(std::uint32_t number) const {
  const std::lock_guard lock(mutex_);
  return states_[number];
}

// The first bytes of an entry that nobody has read; false when there are none.
bool CheckedSource::next_gap(std::uint32_t number, std::uint64_t& begin, std::uint64_t& end) const {
  const Entry& entry = archive_->directory.entries[number];
  const std::lock_guard lock(mutex_);
  const State state = states_[number];
  if (state == State::good || state == State::scattered) return false;
  begin = entry.data_offset;
  end = entry.data_offset + entry.stored_bytes;
  const auto found = runs_.find(number);
  if (found == runs_.end()) return true;
  for (const Run& run : found->second) {
    if (run.begin > begin) {
      end = run.begin;
      break;
    }
    begin = run.end;
  }
  return begin < end;
}

void CheckedSource::complete(std::uint32_t number) const {
  std::vector<std::byte> buffer;
  std::uint64_t begin = 0, end = 0;
  while (next_gap(number, begin, end)) {
    archive_->throw_if_interrupted();
    buffer.resize(kBuffer);
    const auto part = std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(kBuffer, end - begin)));
    read_at(begin, part);
  }
  if (state_of(number) == State::scattered) read_whole(number);
}

void CheckedSource::read_whole(std::uint32_t number) const {
  const Entry& entry = archive_->directory.entries[number];
  std::vector<std::byte> buffer(kBuffer);
  std::uint32_t crc = 0;
  for (std::uint64_t done = 0; done < entry.stored_bytes;) {
    archive_->throw_if_interrupted();
    const std::uint64_t left = entry.stored_bytes - done;
    const auto part = std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(kBuffer, left)));
    source_.read_at(entry.data_offset + done, part);
    crc = crc32(crc, part);
    done += part.size();
  }
  check_crc(*archive_, entry, crc);
  const std::lock_guard lock(mutex_);
  states_[number] = State::good;
}

void CheckedSource::finish() const {
  std::vector<std::uint32_t> begun;
  for (const std::uint32_t number : archive_->directory.by_offset) {
    const State state = state_of(number);
    if (state == State::begun || state == State::scattered) begun.push_back(number);
  }
  in_parallel(source_, begun.size(), [&](std::size_t i) { complete(begun[i]); });
  archive_->finish_source();
}

}  // namespace headrace::format::zip
