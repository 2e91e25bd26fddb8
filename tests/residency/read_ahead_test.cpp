// What is fetched before it is wanted, and in which order.
#include "residency/read_ahead.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

namespace headrace::residency {
namespace {

using How = ReadAhead::How;
using Bytes = ReadAhead::Bytes;
using Tensors = std::vector<std::uint32_t>;

constexpr std::uint64_t kRoom = 100;

struct ReadAheadTest : testing::Test {
  std::mutex mutex;
  Tensors fetched;
  static std::uint64_t size_of(std::uint32_t tensor) { return tensor >= 100 ? 90 : tensor >= 50 ? 60 : 10; }

  ReadAhead ahead{kRoom, [this](std::uint32_t tensor, How how) {
                    const std::lock_guard lock(mutex);
                    fetched.push_back(tensor);
                    if (tensor >= 1000) throw std::runtime_error("a bad disk");
                    if (how == How::into_cache) return Bytes{};
                    return Bytes{std::make_shared<std::byte>(), size_of(tensor)};
                  }};

  void want(std::uint32_t tensor, How how = How::once) { ahead.want(tensor, how, size_of(tensor)); }
  Tensors seen_after(std::size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
      {
        const std::lock_guard lock(mutex);
        if (fetched.size() >= count) break;
      }
      if (std::chrono::steady_clock::now() > deadline) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // for what shouldn't come
    const std::lock_guard lock(mutex);
    return fetched;
  }
};

TEST_F(ReadAheadTest, AsMuchAsThereIsRoomForAndMoreAsItIsTaken) {
  for (std::uint32_t tensor = 0; tensor < 15; ++tensor) want(tensor);
  EXPECT_EQ(seen_after(10).size(), 10U);
  EXPECT_EQ(ahead.bytes(), kRoom);
  EXPECT_TRUE(ahead.take(0)->memory);
  EXPECT_EQ(seen_after(11).size(), 11U);
  EXPECT_TRUE(ahead.knows(14));
  EXPECT_FALSE(ahead.knows(0));
}

TEST_F(ReadAheadTest, OneAlwaysHasRoomAndSmallOnesDoNotOvertakeIt) {
  want(50);
  want(100);
  want(1);
  EXPECT_EQ(seen_after(1), Tensors{50});
  ahead.take(50);
  EXPECT_EQ(seen_after(3), (Tensors{50, 100, 1}));
}

TEST_F(ReadAheadTest, WhatNeedsNoRoomDoesNotWait) {
  want(100);
  want(101);
  want(2, How::into_cache);
  want(3, How::held);
  EXPECT_EQ(seen_after(3), (Tensors{100, 2, 3}));
  want(4, How::held);  // the thread is there, and waits for room
  EXPECT_EQ(seen_after(4), (Tensors{100, 2, 3, 4}));
  EXPECT_TRUE(ahead.find(3));
  EXPECT_TRUE(ahead.find(3));
  ahead.release(3);
  EXPECT_FALSE(ahead.find(3));
}

TEST_F(ReadAheadTest, WhatNobodyTakesMakesWay) {
  want(100);
  want(101);
  seen_after(1);
  const auto late = ahead.take(101);  // it wasn't begun: the caller reads it
  ASSERT_TRUE(late);
  EXPECT_FALSE(late->memory);
  want(102);
  ahead.make_way();
  EXPECT_EQ(seen_after(2), (Tensors{100, 102}));
  EXPECT_FALSE(ahead.take(100));
  EXPECT_TRUE(ahead.take(102)->memory);
}

TEST_F(ReadAheadTest, WhatNobodyWantedIsNothingAndWhatFailedHasNoMemory) {
  EXPECT_FALSE(ahead.take(5));
  want(6, How::into_cache);
  seen_after(1);
  EXPECT_FALSE(ahead.take(6));
  want(1000);
  seen_after(2);
  EXPECT_FALSE(ahead.take(1000));
  want(7);
  EXPECT_EQ(seen_after(3).back(), 7U);
}

TEST_F(ReadAheadTest, NothingIsBegunOnceItIsStopped) {
  ahead.stop();
  want(1);
  EXPECT_TRUE(seen_after(0).empty());
}

}  // namespace
}  // namespace headrace::residency
