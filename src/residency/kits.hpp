// Kits: the memory that a thread works with while it makes a unit: what is being converted, and staging for uploads.
#pragma once

#include <headrace/device.hpp>

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace headrace::residency {

/// All parts have the same size. Upload from `staging` alone, which is made when it is first asked for: where the
/// processor sees the device's memory, it never is.
struct Kit {
  std::array<std::unique_ptr<std::byte[]>, 2> scratch;
  std::array<Staging, 2> staging;
};

/// A few kits that are used again and again, so that no thread waits for another while it holds half of what it needs.
/// Thread-safe.
class Kits {
 public:
  /// For `threads` that work at once, others wait. `memory` in bytes, of all of them together. Throws Error(budget)
  /// when it is too little for one.
  Kits(std::shared_ptr<Device> device, std::uint64_t memory, unsigned threads);

  class Loan {
   public:
    explicit Loan(Kits& kits) : kits_(kits), kit_(kits.take()) {}
    ~Loan() { kits_.give_back(std::move(kit_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;

    std::span<std::byte> scratch(std::size_t number) const noexcept {
      return {kit_->scratch[number].get(), kits_.part_bytes()};
    }
    /// Throws what Device::staging throws.
    std::span<std::byte> staging(std::size_t number);

   private:
    Kits& kits_;
    std::unique_ptr<Kit> kit_;
  };

  std::size_t part_bytes() const noexcept { return part_bytes_; }

 private:
  std::unique_ptr<Kit> take();
  void give_back(std::unique_ptr<Kit> kit) noexcept;

  const std::shared_ptr<Device> device_;
  std::size_t part_bytes_ = 0;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Kit>> idle_;
  std::size_t unmade_;
};

}  // namespace headrace::residency
