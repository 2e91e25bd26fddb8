// Memory that is used again.
#include "residency/block_pool.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace headrace::residency {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(BlockPoolTest, WhatCameBackIsGivenOutAgain) {
  const BlockPool pool(8 * kMiB, 4 * kMiB);
  auto first = pool.take(3 * kMiB);
  ASSERT_TRUE(first);
  std::memset(first.get(), 1, 3 * kMiB);
  const std::byte* const at = first.get();
  auto second = pool.take(3 * kMiB);
  EXPECT_NE(second.get(), at);
  first.reset();
  EXPECT_EQ(pool.free_bytes(), 2 * kMiB);  // the second has a part of its last page
  EXPECT_EQ(pool.take(2 * kMiB).get(), at);
  first = pool.take(3 * kMiB - 5000);
  EXPECT_EQ(first.get(), at);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 4096, 0U);
  first.reset();
  second.reset();
  EXPECT_EQ(pool.take(6 * kMiB).get(), at);  // both
}

TEST(BlockPoolTest, ABlockThatSomebodyHasIsNobodyElses) {
  const BlockPool pool(8 * kMiB, kMiB);
  std::shared_ptr<std::byte> kept = pool.take(kMiB);
  const std::shared_ptr<std::byte> view(kept, kept.get() + 100);
  kept.reset();
  EXPECT_NE(pool.take(kMiB).get() + 100, view.get());
}

// As tensors of a model pass through, each taken before the one that was used is let go of.
TEST(BlockPoolTest, SizesThatTakeTurnsNeedNoNewMemory) {
  constexpr std::size_t kSizes[] = {1, 1, 1, 1, 4, 4};
  const BlockPool pool(6 * kMiB, 4 * kMiB);
  std::deque<std::pair<std::shared_ptr<std::byte>, std::size_t>> there;
  std::size_t waiting = 0;
  std::set<std::uintptr_t> pages;
  for (std::size_t i = 0; i < 600; ++i) {
    const std::size_t bytes = kSizes[i % 6] * kMiB - 3000;
    for (waiting += bytes; waiting > 6 * kMiB; there.pop_front()) waiting -= there.front().second;
    there.emplace_back(pool.take(bytes), bytes);
    const auto at = reinterpret_cast<std::uintptr_t>(there.back().first.get());
    for (std::size_t page = at / (2 * kMiB); page <= (at + bytes - 1) / (2 * kMiB); ++page) pages.insert(page);
  }
  EXPECT_LE(pages.size(), 9U);  // of 2 MiB
}

TEST(BlockPoolTest, SizesThatComeAndGoDoNotAddUp) {
  const BlockPool pool(8 * kMiB, 2 * kMiB);
  for (std::size_t i = 1; i < 60; ++i) {
    const auto block = pool.take(i * (kMiB / 8));
    EXPECT_LE(pool.free_bytes(), 10 * kMiB);
  }
  std::vector<std::shared_ptr<std::byte>> many;
  for (int i = 0; i < 40; ++i) {
    many.push_back(pool.take(kMiB));
    ASSERT_TRUE(many.back());
    std::memset(many.back().get(), i, kMiB);
  }
  for (int i = 0; i < 40; ++i) EXPECT_EQ(many[static_cast<std::size_t>(i)].get()[kMiB - 1], std::byte(i));
  many.clear();
  EXPECT_GT(pool.free_bytes(), 0U);
  EXPECT_LE(pool.free_bytes(), 10 * kMiB);
  pool.trim();
  EXPECT_EQ(pool.free_bytes(), 0U);
  const auto block = pool.take(kMiB);
  EXPECT_EQ(*block, std::byte{0});  // the system had it
}

TEST(BlockPoolTest, BlocksOutliveThePool) {
  std::shared_ptr<std::byte> block;
  {
    const BlockPool pool(kMiB, kMiB);
    block = pool.take(kMiB);
  }
  std::memset(block.get(), 1, kMiB);
}

TEST(BlockPoolTest, FromManyThreads) {
  const BlockPool pool(4 * kMiB, kMiB);
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&pool, i] {
      for (unsigned j = 0; j < 200; ++j) {
        const auto block = pool.take((1 + j % 3) * (kMiB / 2));
        *block = std::byte(i);
        block.get()[kMiB / 2 - 1] = std::byte(j);
        EXPECT_EQ(*block, std::byte(i));
      }
    });
  }
}

}  // namespace
}  // namespace headrace::residency
