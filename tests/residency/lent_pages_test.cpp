// Parts of files that are lent where they lie.
#include "residency/lent_pages.hpp"

#include "support/mapped_bytes.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

namespace headrace {
namespace {

using residency::LentPages;

// Parts that begin and end anywhere: neighbours have a page in common.
constexpr std::uint64_t kPart = (std::uint64_t{256} << 10) + 1000;
constexpr unsigned kParts = 8;

struct LentPagesTest : testing::Test {
  const test::TempFolder folder;
  const std::string path = folder / "parts";
  std::optional<io::File> file;
  LentPages pages{3 * kPart};

  void SetUp() override {
    {
      std::ofstream out(path, std::ios::binary);
      for (unsigned i = 0; i < kParts; ++i) out << std::string(kPart, value(i));
    }
    file = io::File::open(path);
  }

  static char value(unsigned i) { return static_cast<char>('a' + i); }
  std::shared_ptr<std::byte> lend(unsigned i) { return pages.lend(*file, i * kPart, kPart); }
  static bool holds(const std::shared_ptr<std::byte>& part, char wanted) {
    return part &&
           std::all_of(part.get(), part.get() + kPart, [wanted](std::byte b) { return b == std::byte(wanted); });
  }
  static void write(const std::shared_ptr<std::byte>& part) { std::fill_n(part.get(), kPart, std::byte('!')); }
};

TEST_F(LentPagesTest, TheBytesAreTheFiles) {
  for (int round = 0; round < 3; ++round)
    for (unsigned i = 0; i < kParts; ++i) EXPECT_TRUE(holds(lend((i * 3) % kParts), value((i * 3) % kParts)));
}

TEST_F(LentPagesTest, APartIsOneHoldersAtATime) {
  auto part = lend(2);
  EXPECT_TRUE(part);
  EXPECT_FALSE(lend(2));
  EXPECT_FALSE(pages.lend(*file, 2 * kPart + 100, 10));
  EXPECT_FALSE(pages.lend(*file, kPart, 2 * kPart));
  EXPECT_TRUE(holds(lend(1), value(1)));
  part.reset();
  EXPECT_TRUE(holds(lend(2), value(2)));
}

TEST_F(LentPagesTest, WhatIsWrittenNobodyElseSees) {
  const auto before = lend(2), behind = lend(4);
  for (int round = 0; round < 4; ++round) {
    if (const auto part = lend(3)) {
      EXPECT_TRUE(holds(part, value(3)));
      write(part);
    }
    for (unsigned i = 5; i < kParts; ++i) lend(i);  // enough for what is idle to be forgotten
    EXPECT_TRUE(holds(before, value(2)));
    EXPECT_TRUE(holds(behind, value(4)));
  }
  write(before);
  write(behind);
  const auto part = lend(3);
  EXPECT_TRUE(!part || holds(part, value(3)));
  EXPECT_TRUE(holds(before, '!'));
  EXPECT_TRUE(holds(behind, '!'));
}

// Nobody beside it: all its pages are forgotten, and the file's can be had again.
TEST_F(LentPagesTest, WhatWasWrittenToIsLentAgainOnceItIsForgotten) {
  write(lend(3));
  EXPECT_FALSE(lend(3));
  for (const unsigned i : {0, 5, 7}) lend(i);
  EXPECT_TRUE(holds(lend(3), value(3)));
}

TEST_F(LentPagesTest, SomeStaysMapped) {
  EXPECT_TRUE(holds(lend(0), value(0)));
  EXPECT_GE(test::mapped_bytes_of(path), kPart);
  for (int round = 0; round < 2; ++round) {
    for (unsigned i = 0; i < kParts; ++i) {
      EXPECT_TRUE(holds(lend(i), value(i)));
      EXPECT_LE(test::mapped_bytes_of(path), 4 * kPart + (std::uint64_t{128} << 10));  // the system maps some beside
    }
  }
  LentPages none(0);
  EXPECT_TRUE(holds(none.lend(*file, 0, kPart), value(0)));
}

TEST_F(LentPagesTest, APartOutlivesAll) {
  std::shared_ptr<std::byte> part;
  {
    LentPages own(0);
    part = own.lend(*file, kPart, kPart);
  }
  file.reset();
  EXPECT_TRUE(holds(part, value(1)));
}

TEST_F(LentPagesTest, WhatTheFileHasNotAnyMoreIsntLent) {
  std::filesystem::resize_file(path, 4 * kPart);
  EXPECT_FALSE(lend(6));
  EXPECT_TRUE(holds(lend(1), value(1)));
}

TEST_F(LentPagesTest, ManyThreads) {
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned n = 0; n < 200; ++n) {
        const unsigned i = (n * 5 + t) % kParts;
        const auto part = lend(i);
        if (!part) continue;
        wrong += !holds(part, value(i));
        if (n % 3 == 0) write(part);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

struct ViewTest : testing::Test {
  static constexpr std::uint64_t kNumbers = std::uint64_t{1} << 18;
  const test::TempFolder folder;
  const std::string path = folder / "m.safetensors";
  const std::vector<test::TestTensor> tensors{test::random_bytes("small", DType::BF16, {7}, 1),
                                              test::random_bytes("half", DType::BF16, {kNumbers}, 2)};
  ViewTest() { test::save(path, tensors); }

  static bool holds(const std::optional<LoadedTensor>& tensor, const std::vector<std::byte>& bytes) {
    return tensor && std::ranges::equal(tensor->buffer.host_bytes(), bytes);
  }
};

TEST_F(ViewTest, EachIsItsHoldersOwn) {
  const DiskMap map(path);
  std::optional<LoadedTensor> first = map.view("half");
  EXPECT_TRUE(holds(first, tensors[1].bytes));
  EXPECT_EQ(first->name, "half");
  EXPECT_EQ(first->dtype, DType::BF16);
  EXPECT_EQ(first->shape, std::vector{kNumbers});
  std::ranges::fill(first->buffer.host_bytes(), std::byte{1});
  const auto second = map.view("half");
  EXPECT_TRUE(holds(second, tensors[1].bytes));
  first.reset();
  EXPECT_TRUE(holds(map.view("half"), tensors[1].bytes));
  EXPECT_EQ(map.statistics().reads, 3U);
  EXPECT_EQ(map.statistics().bytes_given, 6 * kNumbers);
}

TEST_F(ViewTest, OnlyWhatCanBeUsedWhereItLies) {
  EXPECT_FALSE(DiskMap(path).view("small"));
  EXPECT_FALSE(DiskMap(path, {.type = DType::F16}).view("half"));
  EXPECT_THROW(DiskMap(path).view("none"), Error);
}

TEST_F(ViewTest, AFileThatIsWrittenToIsAnError) {
  const DiskMap map(path);
  EXPECT_TRUE(map.view("half"));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the clock of files is coarse
  std::fstream(path, std::ios::in | std::ios::out).seekp(200).put('x');
  EXPECT_THROW(map.view("half"), Error);
}

}  // namespace
}  // namespace headrace
