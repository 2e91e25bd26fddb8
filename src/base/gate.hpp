// Gate: the memory budget of a job, and the owner of the memory it hands out.
//
// What the gate counts is what the process holds: it maps page-aligned slabs itself, keeps returned ones for the next
// taker and unmaps them only to make room for another size. Headers and plans, which live on the heap, are charged.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace headrace::base {

/// Thread-safe. Must outlive its slabs and charges.
class Gate {
 public:
  /// `budget` in bytes.
  explicit Gate(std::uint64_t budget);
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  /// Memory lent by the gate; goes back when the slab is destroyed. Contents are whatever the last user left.
  class Slab {
   public:
    Slab() = default;
    ~Slab() { reset(); }
    Slab(Slab&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)), bytes_(std::exchange(other.bytes_, {})) {}
    Slab& operator=(Slab&& other) noexcept {
      std::swap(gate_, other.gate_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    std::span<std::byte> bytes() const noexcept { return bytes_; }
    void reset() noexcept;

   private:
    friend class Gate;
    Slab(Gate* gate, std::span<std::byte> bytes) : gate_(gate), bytes_(bytes) {}
    Gate* gate_ = nullptr;
    std::span<std::byte> bytes_;
  };

  /// At least `bytes` bytes, all at once, waiting in line for them: who came first is served first, so a large request
  /// is never starved by small ones. Whoever needs input, scratch and output asks for their sum.
  /// Throws Error(budget) when that much can never be free, Error(cancelled) once the gate is poisoned.
  Slab acquire(std::uint64_t bytes);

  /// Counts memory that lives elsewhere and stays (`what`: for the error). Throws Error(budget) when it doesn't fit.
  void charge(std::uint64_t bytes, const std::string& what);

  /// Every wait, now and later, ends with Error(cancelled). Slabs may still be returned.
  void poison() noexcept;

  /// The system gets back what is idle; for whoever lives on after the work.
  void trim() noexcept;

  std::uint64_t budget() const noexcept { return budget_; }
  /// Bytes that slabs may take: the budget less what is charged.
  std::uint64_t available() const;
  /// The most bytes that were held at once, charges included.
  std::uint64_t peak() const;

 private:
  void give_back(std::span<std::byte> bytes) noexcept;
  std::span<std::byte> try_take(std::size_t bytes);
  std::span<std::byte> take_idle(std::size_t bytes);
  std::uint64_t slab_limit() const;
  void drop_idle();

  const std::uint64_t budget_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::span<std::byte>> idle_;
  std::uint64_t charged_ = 0, mapped_ = 0, peak_ = 0;
  std::uint64_t next_ticket_ = 0, serving_ = 0;
  bool poisoned_ = false;
};

}  // namespace headrace::base
