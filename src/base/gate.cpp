#include "base/gate.hpp"

#include "base/checked.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace headrace::base {
namespace {

constexpr std::size_t kPage = 4096;

std::span<std::byte> map(std::size_t bytes) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw Error(ErrorCode::budget, "the system has no " + format_bytes(bytes) + " of memory left");
  return {static_cast<std::byte*>(at), bytes};
}

void unmap(std::span<std::byte> slab) noexcept { ::munmap(slab.data(), slab.size()); }

// Whole pages; the largest number where that overflows.
std::uint64_t whole_pages(std::uint64_t bytes) {
  return checked_round_up(bytes, kPage).value_or(std::numeric_limits<std::uint64_t>::max());
}

}  // namespace

Gate::Gate(std::uint64_t budget) : budget_(budget) {}

Gate::~Gate() {
  for (const auto slab : idle_) unmap(slab);
}

void Gate::Slab::reset() noexcept {
  if (gate_) std::exchange(gate_, nullptr)->give_back(std::exchange(bytes_, {}));
}

Gate::Slab Gate::acquire(std::uint64_t bytes) {
  std::unique_lock lock(mutex_);
  const std::uint64_t size = whole_pages(std::max<std::uint64_t>(bytes, 1));
  if (size > slab_limit()) {
    throw Error(ErrorCode::budget, "the memory budget is too small for a piece of work",
                {.expected = "at least " + format_bytes(charged_ + bytes),
                 .found = format_bytes(budget_),
                 .hint = "raise --memory"});
  }
  const std::uint64_t ticket = next_ticket_++;
  std::span<std::byte> taken;
  const auto leave = [&] {
    ++serving_;
    changed_.notify_all();
  };
  changed_.wait(lock, [&] { return serving_ == ticket; });  // those before are served or gone, whatever happens
  try {
    changed_.wait(lock, [&] { return poisoned_ || !(taken = try_take(size)).empty(); });
  } catch (...) {
    leave();
    throw;
  }
  leave();
  if (taken.empty()) throw Error(ErrorCode::cancelled, "cancelled");
  return {this, taken};
}

// The best-fitting idle slab that doesn't waste more than half of itself.
std::span<std::byte> Gate::take_idle(std::size_t bytes) {
  auto best = idle_.end();
  for (auto at = idle_.begin(); at != idle_.end(); ++at) {
    if (at->size() < bytes || at->size() / 2 > bytes) continue;
    if (best == idle_.end() || at->size() < best->size()) best = at;
  }
  if (best == idle_.end()) return {};
  const std::span<std::byte> slab = *best;
  idle_.erase(best);
  return slab;
}

std::span<std::byte> Gate::try_take(std::size_t bytes) {
  if (const auto slab = take_idle(bytes); !slab.empty()) return slab;
  while (mapped_ + bytes > slab_limit()) {
    if (idle_.empty()) return {};
    drop_idle();
  }
  const std::span<std::byte> slab = map(bytes);
  mapped_ += bytes;
  peak_ = std::max(peak_, charged_ + mapped_);
  return slab;
}

// What slabs may take together. Rounded up: whoever asks for all that is free must get it.
std::uint64_t Gate::slab_limit() const { return whole_pages(budget_ - charged_); }

void Gate::drop_idle() {
  unmap(idle_.back());
  mapped_ -= idle_.back().size();
  idle_.pop_back();
}

void Gate::give_back(std::span<std::byte> bytes) noexcept {
  const std::lock_guard lock(mutex_);
  idle_.push_back(bytes);
  changed_.notify_all();
}

void Gate::charge(std::uint64_t bytes, const std::string& what) {
  const std::lock_guard lock(mutex_);
  const auto fits = [&] { return bytes <= budget_ && charged_ + mapped_ <= budget_ - bytes; };
  while (!fits() && !idle_.empty()) drop_idle();
  if (!fits()) {
    throw Error(ErrorCode::budget, what + " doesn't fit the memory budget",
                {.expected = format_bytes(charged_ + bytes), .found = format_bytes(budget_), .hint = "raise --memory"});
  }
  charged_ += bytes;
  peak_ = std::max(peak_, charged_ + mapped_);
}

void Gate::trim() noexcept {
  const std::lock_guard lock(mutex_);
  while (!idle_.empty()) drop_idle();
}

void Gate::poison() noexcept {
  const std::lock_guard lock(mutex_);
  poisoned_ = true;
  changed_.notify_all();
}

std::uint64_t Gate::available() const {
  const std::lock_guard lock(mutex_);
  return budget_ - charged_;
}

std::uint64_t Gate::peak() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

}  // namespace headrace::base
