// Memory that is used again.
#include "residency/block_pool.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace headrace::residency {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(BlockPoolTest, ABlockThatCameBackIsGivenOutAgain) {
  const BlockPool pool(8 * kMiB);
  auto first = pool.take(3 * kMiB);
  ASSERT_TRUE(first);
  std::memset(first.get(), 1, 3 * kMiB);
  const std::byte* const at = first.get();
  const auto second = pool.take(3 * kMiB);
  EXPECT_NE(second.get(), at);
  first.reset();
  EXPECT_EQ(pool.free_bytes(), 3 * kMiB);
  EXPECT_EQ(pool.take(3 * kMiB - 5000).get(), at);  // of one shape, at another place in a page
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 4096, 0U);
}

TEST(BlockPoolTest, ABlockThatSomebodyHasIsNobodyElses) {
  const BlockPool pool(8 * kMiB);
  std::shared_ptr<std::byte> kept = pool.take(kMiB);
  const std::shared_ptr<std::byte> view(kept, kept.get() + 100);
  kept.reset();
  EXPECT_EQ(pool.free_bytes(), 0U);
  EXPECT_NE(pool.take(kMiB).get() + 100, view.get());
}

TEST(BlockPoolTest, SizesThatComeAndGoDoNotAddUp) {
  const BlockPool pool(8 * kMiB);
  for (std::size_t i = 1; i < 60; ++i) {
    const auto block = pool.take(i * (kMiB / 8));
    EXPECT_LE(pool.free_bytes(), 16 * kMiB);
  }
  std::vector<std::shared_ptr<std::byte>> many;
  for (int i = 0; i < 40; ++i) many.push_back(pool.take(kMiB));
  many.clear();
  EXPECT_LE(pool.free_bytes(), 16 * kMiB);
  pool.trim();
  EXPECT_EQ(pool.free_bytes(), 0U);
}

TEST(BlockPoolTest, WhatIsUsedForLongDoesNotCount) {
  const BlockPool pool(4 * kMiB);
  std::vector<std::shared_ptr<std::byte>> kept;
  for (int i = 0; i < 20; ++i) {
    kept.push_back(pool.take(kMiB));
    pool.use(kept.back().get() + 100);
  }
  auto passing = pool.take(kMiB);
  const std::byte* const at = passing.get();
  passing.reset();
  EXPECT_EQ(pool.take(kMiB).get(), at);
  kept.clear();
  EXPECT_LE(pool.free_bytes(), 5 * kMiB);
}

TEST(BlockPoolTest, BlocksOutliveThePool) {
  std::shared_ptr<std::byte> block;
  {
    const BlockPool pool(kMiB);
    block = pool.take(kMiB);
  }
  std::memset(block.get(), 1, kMiB);
}

TEST(BlockPoolTest, FromManyThreads) {
  const BlockPool pool(4 * kMiB);
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
