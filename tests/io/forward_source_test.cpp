// Streams: what was read last can be read again, what has passed can't, and a pipe can be woken.
#include "io/forward_source.hpp"
#include "io/location.hpp"
#include "io/pipe.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace headrace::io {
namespace {

// A stream of bytes 0, 1, 2, … that come at most `step` at a time.
class Counting final : public ForwardSource {
 public:
  Counting(std::size_t bytes, std::size_t step) : ForwardSource("numbers", kUnknownSize), left_(bytes), step_(step) {}

 protected:
  std::size_t receive(std::span<std::byte> out) const override {
    const std::size_t n = std::min({out.size(), left_, step_});
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(at_++);
    left_ -= n;
    return n;
  }

 private:
  mutable std::size_t left_, at_ = 0;
  const std::size_t step_;
};

std::vector<std::byte> expected(std::size_t first, std::size_t n) {
  std::vector<std::byte> bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(first + i);
  return bytes;
}

std::vector<std::byte> read(const ByteSource& source, std::uint64_t offset, std::size_t n) {
  std::vector<std::byte> bytes(n);
  source.read_at(offset, bytes);
  return bytes;
}

ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(ForwardSource, LooksTwiceAtABeginning) {
  const Counting source(1 << 20, 1000);
  EXPECT_EQ(read(source, 0, 64), expected(0, 64));
  EXPECT_EQ(read(source, 0, 8), expected(0, 8));
  EXPECT_EQ(read(source, 8, 60'000), expected(8, 60'000));
  EXPECT_EQ(read(source, 100, 100), expected(100, 100));
  EXPECT_EQ(read(source, 60'000, 65'536), expected(60'000, 65'536));
}

TEST(ForwardSource, PassesOverWhatLiesBetween) {
  const Counting source(1 << 20, 777);
  EXPECT_EQ(read(source, 500'000, 10), expected(500'000, 10));
  EXPECT_EQ(code_of([&] { read(source, 499'000, 10); }), ErrorCode::unsupported);
  EXPECT_EQ(read(source, 500'005, 10), expected(500'005, 10));
}

TEST(ForwardSource, LongReadsAreNotKept) {
  const Counting source(1 << 20, 1 << 20);
  EXPECT_EQ(read(source, 0, 300'000), expected(0, 300'000));
  EXPECT_EQ(code_of([&] { read(source, 299'000, 10); }), ErrorCode::unsupported);
}

TEST(ForwardSource, EveryPairOfSmallReadsThatGoesBackALittle) {
  for (const std::size_t step : {1u, 3u, 100u, 100'000u}) {
    const Counting source(400'000, step);
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < 300; ++i) {
      const std::size_t n = 1 + i * 37 % 1500, back = std::min<std::size_t>(at, i * 53 % 1200);
      ASSERT_EQ(read(source, at - back, n), expected(at - back, n)) << step << ' ' << i;
      at = std::max(at, at - back + n);
    }
  }
}

TEST(ForwardSource, TheEnd) {
  const Counting source(100, 30);
  std::array<std::byte, 64> some;
  EXPECT_EQ(source.read_some_at(90, some), 10U);
  EXPECT_EQ(source.read_some_at(100, some), 0U);
  EXPECT_EQ(code_of([&] { read(source, 95, 6); }), ErrorCode::io);
}

TEST(Pipe, BytesAndTheEnd) {
  std::array<int, 2> ends;
  ASSERT_EQ(::pipe(ends.data()), 0);
  const Descriptor out(ends[0]);
  const Pipe pipe(ends[0], "standard input");
  ASSERT_EQ(::write(ends[1], "abc", 3), 3);
  ASSERT_EQ(::close(ends[1]), 0);
  EXPECT_EQ(pipe.access(), Access::forward);
  std::array<std::byte, 3> got;
  pipe.read_at(0, got);
  EXPECT_EQ(std::memcmp(got.data(), "abc", 3), 0);
  EXPECT_EQ(pipe.read_some_at(3, got), 0U);
}

TEST(Pipe, AWaitingReadIsWoken) {
  std::array<int, 2> ends;
  ASSERT_EQ(::pipe(ends.data()), 0);
  const Descriptor out(ends[0]), in(ends[1]);
  const Pipe pipe(ends[0], "standard input");
  std::thread waker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    pipe.interrupt();
  });
  EXPECT_EQ(code_of([&] { read(pipe, 0, 1); }), ErrorCode::cancelled);
  waker.join();
  EXPECT_EQ(code_of([&] { read(pipe, 0, 1); }), ErrorCode::cancelled);  // and from then on
}

// For its life, the standard input is a pipe that never brings anything.
class SilentInput {
 public:
  SilentInput() : before_(::dup(STDIN_FILENO)) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    in_ = Descriptor(ends[1]);
    if (ends[0] == STDIN_FILENO) return;
    EXPECT_EQ(::dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    ::close(ends[0]);
  }
  ~SilentInput() {
    if (before_) {
      ::dup2(before_.get(), STDIN_FILENO);
    } else {
      ::close(STDIN_FILENO);  // as it was
    }
  }

 private:
  Descriptor before_, in_;
};

TEST(Pipe, ATokenEndsTheWait) {
  const SilentInput silent;
  const SourceOptions options;
  const auto source = open(Location("-"), options);
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    options.cancel.cancel();
  });
  EXPECT_EQ(code_of([&] { read(*source, 0, 1); }), ErrorCode::cancelled);
  canceller.join();
  EXPECT_EQ(code_of([&] { read(*source, 0, 1); }), ErrorCode::cancelled);
  EXPECT_EQ(code_of([&] { open(Location("-"), options); }), ErrorCode::cancelled);
}

}  // namespace
}  // namespace headrace::io
