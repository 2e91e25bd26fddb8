// Byte counts, errors, cancellation, checked arithmetic, workers.
#include "base/arena.hpp"
#include "base/checked.hpp"
#include "base/workers.hpp"

#include <headrace/bytes.hpp>
#include <headrace/cancel.hpp>
#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

namespace headrace {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(Bytes, ReadsWhatPeopleWrite) {
  EXPECT_EQ(parse_bytes("0"), 0U);
  EXPECT_EQ(parse_bytes("4096"), 4096U);
  EXPECT_EQ(parse_bytes("64MiB"), 64U << 20);
  EXPECT_EQ(parse_bytes("1G"), 1U << 30);
  EXPECT_EQ(parse_bytes("512k"), 512U << 10);
  EXPECT_EQ(parse_bytes("2 GB"), 2'000'000'000U);
  EXPECT_EQ(parse_bytes("1.5gib"), 3U << 29);
  EXPECT_EQ(parse_bytes("18446744073709551615"), kMax);
}

TEST(Bytes, RefusesTheRest) {
  for (const char* text :
       {"", "MiB", "-1", "1e9", "12Q", "1KiBB", "18446744073709551616", "16777216TiB", "1..5M", ".", "1 2", "0x10"}) {
    EXPECT_EQ(parse_bytes(text), std::nullopt) << text;
  }
}

TEST(Bytes, WritesThreeDigits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(3'200'000'000), "3.20 GB");
  EXPECT_EQ(format_bytes(99'960), "100 kB");
  EXPECT_EQ(format_bytes(999'950'000), "1.00 GB");
  EXPECT_EQ(format_bytes(kMax), "18.4 EB");
}

TEST(Error, NamesEverythingItKnows) {
  const Error error(
      ErrorCode::format, "bad offset",
      {.file = "m.gguf", .tensor = "w", .offset = 24, .expected = "32", .found = "31", .hint = "download it again"});
  EXPECT_STREQ(error.what(), "m.gguf: tensor 'w': at byte 24: bad offset (expected 32, found 31); download it again");
  EXPECT_STREQ(Error(ErrorCode::io, "no").what(), "no");
}

TEST(Checked, FindsOverflow) {
  EXPECT_EQ(base::checked_add(kMax, 0), kMax);
  EXPECT_EQ(base::checked_add(kMax, 1), std::nullopt);
  EXPECT_EQ(base::checked_mul(std::uint64_t{1} << 32, std::uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(base::checked_round_up(33, 32), 64U);
  EXPECT_EQ(base::checked_round_up(kMax, 2), std::nullopt);
  EXPECT_EQ(base::checked_product({}), 1U);
  EXPECT_EQ(base::checked_product(std::array<std::uint64_t, 3>{kMax, 2, 0}), std::nullopt);
}

TEST(Arena, KeepsWhatItHandedOut) {
  base::Arena arena;
  std::vector<std::string_view> copies;
  for (int i = 0; i < 20'000; ++i) copies.push_back(arena.copy(std::string_view("tensor." + std::to_string(i))));
  const std::string_view large = arena.copy(std::string_view(std::string(1 << 20, 'x')));
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(copies[static_cast<std::size_t>(i)], "tensor." + std::to_string(i));
  EXPECT_EQ(large.size(), std::size_t{1} << 20);
  EXPECT_LT(arena.memory(), std::size_t{2} << 20);
}

TEST(CancelToken, WakesListenersOnceAndForgetsThem) {
  const CancelToken token;
  int woken = 0, forgotten = 0;
  const auto handle = token.on_cancel([&] { ++woken; });
  token.on_cancel([&] { ++forgotten; }).reset();
  EXPECT_NO_THROW(token.throw_if_cancelled());
  token.cancel();
  token.cancel();
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(forgotten, 0);
  int late = 0;
  const auto other = token.on_cancel([&] { ++late; });
  EXPECT_EQ(late, 1);
  EXPECT_THROW(token.throw_if_cancelled(), Error);
}

TEST(Workers, AllRunAndAreAwaited) {
  std::atomic<int> ran{0};
  base::Workers workers(5, [&] { ++ran; });
  EXPECT_TRUE(workers.wait_for(std::chrono::seconds(10)));
  EXPECT_EQ(ran, 5);
  EXPECT_EQ(base::worker_count(3), 3U);
  EXPECT_GE(base::worker_count(0), 1U);
}

}  // namespace
}  // namespace headrace
