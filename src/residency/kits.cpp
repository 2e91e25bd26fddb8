#include "residency/kits.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>

#include <algorithm>
#include <utility>

namespace headrace::residency {
namespace {

constexpr std::uint64_t kParts = 4;  // of a kit
constexpr std::uint64_t kSmallestPart = std::uint64_t{64} << 10, kLargestPart = std::uint64_t{4} << 20;

}  // namespace

Kits::Kits(std::shared_ptr<Device> device, std::uint64_t memory, unsigned threads) : device_(std::move(device)) {
  const std::uint64_t affordable = memory / (kParts * kSmallestPart);
  if (affordable == 0) {
    throw Error(ErrorCode::budget, "too little memory for staging",
                {.file = device_->name(),
                 .expected = "at least " + format_bytes(kParts * kSmallestPart),
                 .found = format_bytes(memory)});
  }
  unmade_ = static_cast<std::size_t>(std::min<std::uint64_t>(threads, affordable));
  const std::uint64_t share = memory / unmade_ / kParts / kSmallestPart * kSmallestPart;
  part_bytes_ = static_cast<std::size_t>(std::min(share, kLargestPart));
  idle_.reserve(unmade_);  // giving back must not fail
}

std::unique_ptr<Kit> Kits::take() {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [&] { return !idle_.empty() || unmade_ > 0; });
  if (!idle_.empty()) {
    auto kit = std::move(idle_.back());
    idle_.pop_back();
    return kit;
  }
  auto kit = std::make_unique<Kit>();
  for (auto& part : kit->scratch) part = std::make_unique_for_overwrite<std::byte[]>(part_bytes_);
  --unmade_;
  return kit;
}

void Kits::give_back(std::unique_ptr<Kit> kit) noexcept {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(kit));
  freed_.notify_one();
}

std::span<std::byte> Kits::Loan::staging(std::size_t number) {
  Staging& staging = kit_->staging[number];
  if (staging.bytes().empty()) staging = kits_.device_->staging(kits_.part_bytes());
  return staging.bytes();
}

}  // namespace headrace::residency
