// Tensors where they lie in their files.
#include "support/mapped_bytes.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

namespace headrace {
namespace {

using test::random_bytes;
using test::TempFolder;
using testing::HasSubstr;

constexpr std::uint64_t kNumbers = std::uint64_t{1} << 20;

struct MappedTensorTest : testing::Test {
  const TempFolder folder;
  const std::string path = folder / "m.safetensors";
  const std::vector<test::TestTensor> tensors{
      random_bytes("small", DType::BF16, {7}, 1), random_bytes("half", DType::BF16, {kNumbers}, 2),
      random_bytes("wide", DType::F32, {kNumbers}, 3), random_bytes("last", DType::BF16, {kNumbers}, 4)};

  MappedTensorTest() { test::save(path, tensors); }

  static std::vector<std::byte> seen(const MappedTensor& mapped) {
    const auto bytes = mapped.tensor.buffer.host_bytes();
    return {bytes.begin(), bytes.end()};
  }

  static std::string wrong(auto&& action) {
    try {
      action();
    } catch (const Error& error) {
      return std::string(to_string(error.code())) + ": " + error.what();
    }
    return "";
  }
};

TEST_F(MappedTensorTest, TheBytesAreTheFiles) {
  const DiskMap map(path);
  const auto mapped = map.map("half");
  ASSERT_TRUE(mapped);
  EXPECT_EQ(mapped->tensor.name, "half");
  EXPECT_EQ(mapped->tensor.dtype, DType::BF16);
  EXPECT_EQ(mapped->tensor.shape, std::vector{kNumbers});
  EXPECT_EQ(seen(*mapped), tensors[1].bytes);
  EXPECT_NO_THROW(mapped->require_intact());
}

TEST_F(MappedTensorTest, OnlyWhatCanBeUsedWhereItLies) {
  const DiskMap map(path), narrow(path, {.type = DType::F16});
  EXPECT_FALSE(map.map("small"));
  EXPECT_FALSE(narrow.map("half"));
  const Checkpoint checkpoint = Checkpoint::open(path);
  EXPECT_EQ(map.map("wide").has_value(), checkpoint.find("wide")->offset % 64 == 0);
  EXPECT_THROW(map.map("none"), Error);
}

TEST_F(MappedTensorTest, WideNumbersThatLieWell) {
  std::size_t well = 0;
  for (std::size_t padding = 0; padding < 64; padding += 8) {
    const std::string other = folder / "other.safetensors";
    Metadata metadata;
    metadata.set_string("padding", std::string(padding, ' '));
    test::save(other, {tensors[2]}, metadata);
    const std::uint64_t offset = Checkpoint::open(other).find("wide")->offset;
    const DiskMap map(other);
    const auto mapped = map.map("wide");
    ASSERT_EQ(mapped.has_value(), offset % 64 == 0);
    if (!mapped) continue;
    ++well;
    EXPECT_EQ(seen(*mapped), tensors[2].bytes);
  }
  EXPECT_EQ(well, 1U);
}

TEST_F(MappedTensorTest, PagesComeAndGo) {
  const DiskMap map(path);
  const auto mapped = map.map("half");
  const auto there = [&] { return test::mapped_bytes_of(path) >= 2 * kNumbers; };
  EXPECT_EQ(test::mapped_bytes_of(path), 0U);
  mapped->bring();
  EXPECT_EQ(seen(*mapped), tensors[1].bytes);
  EXPECT_TRUE(there());
  mapped->let_go();
  EXPECT_FALSE(there());
  mapped->bring();
  EXPECT_EQ(seen(*mapped), tensors[1].bytes);
  EXPECT_TRUE(there());
  mapped->let_go();
  EXPECT_EQ(seen(*mapped), tensors[1].bytes);  // who looks at them has them back
}

// Of a large one its first and last 2 MiB of the file may come with it, and go.
TEST_F(MappedTensorTest, WhatALargeOneHasInCommonWithOthersGoesWithIt) {
  const std::string large = folder / "large.safetensors";
  const std::vector<test::TestTensor> all{random_bytes("first", DType::BF16, {5 * kNumbers / 2}, 5),
                                          random_bytes("between", DType::BF16, {3 * kNumbers}, 6),
                                          random_bytes("last", DType::BF16, {2 * kNumbers}, 7)};
  test::save(large, all);
  const DiskMap map(large);
  for (const auto& tensor : all) {
    const auto mapped = map.map(tensor.spec.name);
    mapped->bring();
    EXPECT_EQ(seen(*mapped), tensor.bytes);
    EXPECT_GE(test::mapped_bytes_of(large), tensor.bytes.size());
    EXPECT_LE(test::mapped_bytes_of(large), tensor.bytes.size() + (std::size_t{4} << 20));
    std::ranges::fill(mapped->tensor.buffer.host_bytes(), std::byte{1});
    mapped->require_intact();
    mapped->let_go();
    EXPECT_EQ(test::mapped_bytes_of(large), 0U);
    EXPECT_EQ(seen(*mapped), tensor.bytes);
  }
}

TEST_F(MappedTensorTest, WhatTheCacheGivesUpIsSeen) {
  const DiskMap map(path);
  const auto mapped = map.map("half");
  EXPECT_FALSE(mapped->is_lost());
  if (cached_share(Checkpoint::open(path)).value_or(0) < 0.9) GTEST_SKIP() << "nobody says what is cached here";
  mapped->let_go();
  drop_cached(Checkpoint::open(path));
  if (cached_share(Checkpoint::open(path)).value_or(1) > 0.1) GTEST_SKIP() << "this cache can't be dropped";
  EXPECT_TRUE(mapped->is_lost());
  mapped->bring();
  EXPECT_FALSE(mapped->is_lost());
}

TEST_F(MappedTensorTest, WhatIsWrittenStaysHere) {
  const DiskMap map(path);
  const auto mapped = map.map("half"), again = map.map("half");
  std::ranges::fill(mapped->tensor.buffer.host_bytes(), std::byte{1});
  EXPECT_EQ(seen(*again), tensors[1].bytes);
  mapped->let_go();
  EXPECT_EQ(seen(*mapped), tensors[1].bytes);
}

TEST_F(MappedTensorTest, ItOutlivesItsMap) {
  std::optional<MappedTensor> mapped;
  {
    const DiskMap map(path);
    mapped = map.map("half");
  }
  mapped->bring();
  EXPECT_EQ(seen(*mapped), tensors[1].bytes);
  Buffer buffer = std::move(mapped->tensor.buffer);
  mapped.reset();
  const auto bytes = buffer.host_bytes();
  EXPECT_TRUE(std::ranges::equal(bytes, tensors[1].bytes));
}

TEST_F(MappedTensorTest, AFileThatIsWrittenToIsAnError) {
  const DiskMap map(path);
  const auto mapped = map.map("half");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the clock of files is coarse
  std::fstream(path, std::ios::in | std::ios::out).seekp(200).put('x');
  EXPECT_THAT(wrong([&] { mapped->require_intact(); }), HasSubstr("io: "));
  EXPECT_THAT(wrong([&] { mapped->bring(); }), HasSubstr("half"));
  EXPECT_THAT(wrong([&] { (void)map.map("last"); }), HasSubstr("io: "));
}

// In use, whoever computes must come to an end; without a watch the program would.
TEST_F(MappedTensorTest, AFileThatIsCutShortWhileItIsLookedAtGivesZeros) {
  const DiskMap map(path);
  const auto mapped = map.map("last");
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - kNumbers);
  const auto bytes = seen(*mapped);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + kNumbers / 2, tensors[3].bytes.begin()));
  EXPECT_EQ(bytes.back(), std::byte{0});
  EXPECT_THAT(wrong([&] { mapped->require_intact(); }), testing::AllOf(HasSubstr("io: "), HasSubstr("last")));
  EXPECT_THAT(wrong([&] { mapped->bring(); }), HasSubstr("io: "));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
using MappedTensorDeathTest = MappedTensorTest;

// Zeros that nobody is told of would be wrong results.
TEST_F(MappedTensorDeathTest, ABufferThatNobodyCanAskAboutIsntWatched) {
  const DiskMap map(path);
  auto mapped = map.map("last");
  const Buffer buffer = std::move(mapped->tensor.buffer);
  mapped.reset();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - kNumbers);
  EXPECT_EXIT((void)*const_cast<volatile std::byte*>(&buffer.host_bytes().back()), testing::KilledBySignal(SIGBUS), "");
}
#endif

TEST_F(MappedTensorTest, ManyThreadsBringAndLetGo) {
  const DiskMap map(path);
  const auto mapped = map.map("half");
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20; ++n) {
        mapped->bring();
        wrong += seen(*mapped) != tensors[1].bytes;
        mapped->let_go();
        wrong += !map.map("last");
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(MappedTensorTest, WhatIsPrefetchedIsInTheSystemsCache) {
  const std::vector<std::string> names{"half", "last"};
  const DiskMap map(path);
  const Checkpoint checkpoint = Checkpoint::open(path);
  if (cached_share(checkpoint).value_or(0) < 0.9) GTEST_SKIP() << "nobody says what is cached here";
  drop_cached(checkpoint);
  if (cached_share(checkpoint).value_or(1) > 0.1) GTEST_SKIP() << "this file system's cache can't be dropped";
  EXPECT_EQ(map.prefetch(names), 2U);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (cached_share(checkpoint).value_or(1) < 0.4 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GE(cached_share(checkpoint).value_or(1), 0.4);
  while (map.prefetch(names) > 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(map.prefetch(names), 0U);
}

TEST_F(MappedTensorTest, OfASmallOneThatIsPrefetchedNotTheWholeFileIsRead) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const DiskMap map(path);
  if (cached_share(checkpoint).value_or(0) < 0.9) GTEST_SKIP() << "nobody says what is cached here";
  drop_cached(checkpoint);
  if (cached_share(checkpoint).value_or(1) > 0.1) GTEST_SKIP() << "this file system's cache can't be dropped";
  const std::vector<std::string> names{"small"};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (map.prefetch(names) > 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(map.prefetch(names), 0U);
  EXPECT_LT(cached_share(checkpoint).value_or(1), 0.2);
}

}  // namespace
}  // namespace headrace
