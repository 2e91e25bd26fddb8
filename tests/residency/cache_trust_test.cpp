// When the system's cache is left alone.
#include "residency/cache_trust.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>

namespace headrace::residency {
namespace {

TEST(CacheTrustTest, AtFirstEverythingGoesThroughTheCache) {
  CacheTrust trust(3);
  EXPECT_FALSE(trust.reads_past(1));
  EXPECT_FALSE(trust.reads_past(1));  // it may not have been given to the cache after all
}

TEST(CacheTrustTest, WhatWasLostGoesPastItForAWhileAndIsTriedAgain) {
  CacheTrust trust(1);
  unsigned last = 0;
  for (int loss = 0; loss < 4; ++loss) {
    trust.gave(0, false);
    unsigned past = 0;
    while (trust.reads_past(0)) ++past;
    EXPECT_GE(past, loss == 0 ? 8U : 2 * last);
    last = past;
  }
  trust.gave(0, true);  // it was brought ahead of use
  unsigned past = 0;
  while (trust.reads_past(0)) ++past;
  EXPECT_GE(past, 2 * last);
  trust.gave(0, true);
  trust.gave(0, true);  // and has stayed there
  past = 0;
  while (trust.reads_past(0)) ++past;
  EXPECT_EQ(past, 8U);
}

TEST(CacheTrustTest, WaitsDoNotGrowForEver) {
  CacheTrust trust(1000);
  for (int loss = 0; loss < 300; ++loss) {
    trust.gave(999, false);
    unsigned past = 0;
    while (trust.reads_past(999)) ++past;
    EXPECT_LE(past, 256U);
  }
}

// The tensors that a cache holds which forgets what was used longest ago; each is used once in a pass.
unsigned hits_of_a_pass(std::uint32_t tensors, std::size_t holds, unsigned pass, bool trusting) {
  CacheTrust trust(tensors);
  std::deque<std::uint32_t> cache;
  unsigned hits = 0;
  for (unsigned i = 0; i <= pass; ++i) {
    hits = 0;
    for (std::uint32_t tensor = 0; tensor < tensors; ++tensor) {
      const auto at = std::ranges::find(cache, tensor);
      const bool there = at != cache.end();
      hits += there ? 1 : 0;
      if (!there && trusting && trust.reads_past(tensor)) continue;
      if (there) cache.erase(at);
      cache.push_back(tensor);
      if (cache.size() > holds) cache.pop_front();
      trust.gave(tensor, there);
    }
  }
  return hits;
}

TEST(CacheTrustTest, OfAModelLargerThanTheCacheMostOfWhatFitsStays) {
  for (const unsigned pass : {1U, 2U, 5U, 30U, 100U, 300U}) {
    EXPECT_EQ(hits_of_a_pass(200, 130, pass, false), 0U);
    EXPECT_GE(hits_of_a_pass(200, 130, pass, true), 100U) << pass;
  }
  EXPECT_EQ(hits_of_a_pass(200, 200, 2, true), 200U);
}

}  // namespace
}  // namespace headrace::residency
