#include "flow/read_slots.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace headrace::flow {
namespace {

TEST(ReadSlots, NoMoreThanSoManyAtOnce) {
  ReadSlots slots(2);
  std::atomic<int> now{0}, most{0};
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::uint64_t i = 0; i < 20; ++i) {
        slots.run(i * 6 + thread, [&] {
          const int here = ++now;
          int seen = most;
          while (here > seen && !most.compare_exchange_weak(seen, here)) {
          }
          std::this_thread::sleep_for(std::chrono::microseconds(100));
          --now;
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 2);
}

TEST(ReadSlots, NobodyReadsBehindAPieceThatFailed) {
  ReadSlots slots(1);
  std::atomic<bool> reading{false}, behind{false}, before{false};
  std::thread failing([&] {
    EXPECT_THROW(slots.run(5,
                           [&] {
                             reading = true;
                             std::this_thread::sleep_for(std::chrono::milliseconds(50));
                             throw std::runtime_error("lost");
                           }),
                 std::runtime_error);
  });
  while (!reading) std::this_thread::yield();
  std::thread waiting([&] {
    try {
      slots.run(6, [&] { behind = true; });
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::cancelled);
    }
  });
  failing.join();
  waiting.join();
  slots.run(4, [&] { before = true; });  // its error would count more
  EXPECT_FALSE(behind);
  EXPECT_TRUE(before);
}

TEST(ReadSlots, WithoutALimitNobodyWaits) {
  ReadSlots slots(0);
  EXPECT_THROW(slots.run(1, [] { throw std::runtime_error("lost"); }), std::runtime_error);
  bool read = false;
  slots.run(2, [&] { read = true; });
  EXPECT_TRUE(read);
}

}  // namespace
}  // namespace headrace::flow
