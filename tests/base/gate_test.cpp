#include "base/gate.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace headrace::base {
namespace {

using namespace std::chrono_literals;
constexpr std::uint64_t kPage = 4096;

ErrorCode code_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(Gate, LendsPageAlignedMemoryAndReusesIt) {
  Gate gate(8 * kPage);
  std::byte* first = nullptr;
  {
    const Gate::Slab slab = gate.acquire(3 * kPage);
    first = slab.bytes().data();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % kPage, 0U);
    EXPECT_GE(slab.bytes().size(), 3 * kPage);
    std::memset(first, 1, 3 * kPage);
  }
  EXPECT_EQ(gate.acquire(3 * kPage).bytes().data(), first);
  EXPECT_EQ(gate.peak(), 3 * kPage);
}

TEST(Gate, UnmapsIdleSlabsToMakeRoomForAnotherSize) {
  Gate gate(8 * kPage);
  gate.acquire(6 * kPage).reset();
  const Gate::Slab large = gate.acquire(8 * kPage);
  EXPECT_EQ(large.bytes().size(), 8 * kPage);
  EXPECT_LE(gate.peak(), 8 * kPage);
}

TEST(Gate, TrimmedItHoldsOnlyWhatIsLent) {
  Gate gate(8 * kPage);
  const Gate::Slab lent = gate.acquire(2 * kPage);
  std::byte* idle = gate.acquire(6 * kPage).bytes().data();
  std::array<unsigned char, 6> resident{};
  EXPECT_EQ(::mincore(idle, 6 * kPage, resident.data()), 0);
  gate.trim();
  EXPECT_EQ(::mincore(idle, 6 * kPage, resident.data()), -1);
  EXPECT_EQ(errno, ENOMEM);
  std::memset(lent.bytes().data(), 1, lent.bytes().size());
  EXPECT_EQ(gate.acquire(6 * kPage).bytes().size(), 6 * kPage);
}

TEST(Gate, RefusesWhatCanNeverFit) {
  Gate gate(4 * kPage);
  EXPECT_EQ(code_of([&] { gate.acquire(5 * kPage); }), ErrorCode::budget);
  gate.charge(2 * kPage, "a header");
  EXPECT_EQ(gate.available(), 2 * kPage);
  EXPECT_EQ(code_of([&] { gate.acquire(3 * kPage); }), ErrorCode::budget);
  EXPECT_EQ(code_of([&] { gate.charge(3 * kPage, "another"); }), ErrorCode::budget);
  EXPECT_NO_THROW(gate.acquire(2 * kPage));
}

TEST(Gate, ABudgetOfOddBytesIsLentToTheLast) {
  Gate gate(10'000);
  gate.charge(1, "a header");
  EXPECT_EQ(gate.acquire(9'999).bytes().size(), 3 * kPage);
  EXPECT_EQ(code_of([&] { gate.acquire(3 * kPage + 1); }), ErrorCode::budget);
  Gate boundless(~std::uint64_t{0});
  EXPECT_EQ(boundless.acquire(kPage).bytes().size(), kPage);
}

TEST(Gate, ChargingMakesIdleSlabsGiveWay) {
  Gate gate(4 * kPage);
  gate.acquire(4 * kPage).reset();
  EXPECT_NO_THROW(gate.charge(3 * kPage, "a header"));
  EXPECT_EQ(code_of([&] { gate.charge(2 * kPage, "another"); }), ErrorCode::budget);
}

TEST(Gate, ALargeRequestIsServedBeforeLaterSmallOnes) {
  Gate gate(4 * kPage);
  Gate::Slab held = gate.acquire(2 * kPage);
  std::atomic<int> order{0};
  int large_at = 0, small_at = 0;
  std::thread large([&] {
    const Gate::Slab slab = gate.acquire(4 * kPage);
    large_at = ++order;
  });
  std::this_thread::sleep_for(50ms);
  std::thread small([&] {
    const Gate::Slab slab = gate.acquire(kPage);  // would fit at once
    small_at = ++order;
  });
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(order, 0);
  held.reset();
  large.join();
  small.join();
  EXPECT_EQ(large_at, 1);
  EXPECT_EQ(small_at, 2);
}

TEST(Gate, PoisonEndsEveryWait) {
  Gate gate(kPage);
  Gate::Slab held = gate.acquire(kPage);
  std::atomic<int> ended{0};
  std::vector<std::thread> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.emplace_back([&] {
      if (code_of([&] { gate.acquire(kPage); }) == ErrorCode::cancelled) ++ended;
    });
  }
  std::this_thread::sleep_for(50ms);
  gate.poison();
  for (auto& thread : waiting) thread.join();
  EXPECT_EQ(ended, 4);
  held.reset();
}

TEST(Gate, NeverHoldsMoreThanTheBudgetUnderLoad) {
  constexpr std::uint64_t kBudget = 64 * kPage;
  Gate gate(kBudget);
  std::atomic<std::uint64_t> held{0}, most{0};
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 6; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 500; ++i) {
        const Gate::Slab slab = gate.acquire(1 + random() % (40 * kPage));
        const std::uint64_t now = held += slab.bytes().size();
        std::uint64_t seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        slab.bytes().front() = std::byte{1};
        held -= slab.bytes().size();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(most, kBudget);
  EXPECT_LE(gate.peak(), kBudget);
  EXPECT_GT(most, 20 * kPage);
}

}  // namespace
}  // namespace headrace::base
