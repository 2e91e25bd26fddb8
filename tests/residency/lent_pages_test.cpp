// Parts of files that are lent where they lie.
#include "residency/lent_pages.hpp"

#include "support/mapped_bytes.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <sys/resource.h>

namespace headrace {
namespace {

using residency::LentPages;

// Parts that begin and end anywhere: neighbours have a page in common.
constexpr std::uint64_t kPart = (std::uint64_t{2} << 20) + 1000;
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
  std::shared_ptr<std::byte> lend(unsigned i) { return pages.lend(*file, i * kPart, kPart).memory; }
  static bool holds(const std::shared_ptr<std::byte>& part, char wanted) {
    return part &&
           std::all_of(part.get(), part.get() + kPart, [wanted](std::byte b) { return b == std::byte(wanted); });
  }
  static void* page_of(std::byte* at) {
    return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(at) / 4096 * 4096);
  }
  bool says_what_was_written_to() const {
    const io::Mapping mapping(*file);
    return mapping.populate(0, kPart) && !mapping.state_of(0, kPart).written_to;
  }
  static void write(const std::shared_ptr<std::byte>& part) { std::fill_n(part.get(), kPart, std::byte('!')); }
};

TEST_F(LentPagesTest, TheBytesAreTheFiles) {
  for (int round = 0; round < 3; ++round)
    for (unsigned i = 0; i < kParts; ++i) EXPECT_TRUE(holds(lend((i * 3) % kParts), value((i * 3) % kParts)));
}

TEST_F(LentPagesTest, APartIsOneHoldersAtATime) {
  auto part = lend(2);
  const auto second = lend(2), inside = pages.lend(*file, 2 * kPart + 100, 10).memory,
             over = pages.lend(*file, kPart, 2 * kPart).memory;
  EXPECT_TRUE(holds(second, value(2)));
  write(part);
  EXPECT_TRUE(holds(second, value(2)));
  EXPECT_EQ(*inside, std::byte(value(2)));
  EXPECT_EQ(over.get()[2 * kPart - 1], std::byte(value(2)));
  part.reset();
  EXPECT_TRUE(holds(lend(2), value(2)));
}

// What was looked at, and let go of.
TEST_F(LentPagesTest, WhatIsThereIsLentAgain) {
  if (!says_what_was_written_to()) GTEST_SKIP() << "the system doesn't say what was written to";
  auto first = pages.lend(*file, kPart, kPart);
  EXPECT_FALSE(first.is_there);
  EXPECT_TRUE(first.bring());
  const std::byte* const at = first.memory.get();
  first = {};
  first = pages.lend(*file, kPart, kPart);
  EXPECT_EQ(first.memory.get(), at);
  EXPECT_TRUE(first.is_there);
  EXPECT_TRUE(holds(first.memory, value(1)));
  // The system may take pages back that nobody has written to.
  ASSERT_EQ(::madvise(page_of(first.memory.get() + kPart / 2), 4096, MADV_DONTNEED), 0);
  first = {};
  first = pages.lend(*file, kPart, kPart);
  EXPECT_EQ(first.memory.get(), at);
  EXPECT_FALSE(first.is_there);
}

TEST_F(LentPagesTest, WhatWasForgottenIsLentAgainBetweenOthers) {
  if (!says_what_was_written_to()) GTEST_SKIP() << "the system doesn't say what was written to";
  const auto before = lend(2), behind = lend(4);
  auto part = lend(3);
  const std::byte* const at = part.get();
  EXPECT_TRUE(holds(part, value(3)));
  part.reset();
  for (const unsigned i : {0, 5, 6, 7}) EXPECT_TRUE(holds(lend(i), value(i)));
  const auto again = pages.lend(*file, 3 * kPart, kPart);
  EXPECT_EQ(again.memory.get(), at);
  EXPECT_FALSE(again.is_there);
  EXPECT_TRUE(holds(again.memory, value(3)));
  EXPECT_TRUE(holds(before, value(2)));
  EXPECT_TRUE(holds(behind, value(4)));
}

TEST_F(LentPagesTest, WhatSomebodyForgetsLeaves) {
  lend(6);
  auto part = lend(1);
  EXPECT_TRUE(holds(part, value(1)));
  pages.forget(*file, kPart);  // somebody has it
  EXPECT_TRUE(holds(part, value(1)));
  part.reset();
  const std::uint64_t before = test::mapped_bytes_of(path);
  pages.forget(*file, kPart);
  EXPECT_LE(test::mapped_bytes_of(path), before - kPart + 2 * 4096);
  pages.forget(*file, kPart);
  pages.forget(*file, 17);
  EXPECT_TRUE(holds(lend(1), value(1)));
}

// Memory that is locked stays as it was written to, whoever asks the system for the file's.
TEST_F(LentPagesTest, WhatTheSystemKeepsIsNotLentAgain) {
  for (const bool all : {false, true}) {
    LentPages none(all ? 0 : 2 * kPart);
    auto part = none.lend(*file, kPart, kPart).memory;
    if (::mlock(page_of(part.get() + 4096), 8 * 4096) != 0) GTEST_SKIP() << "memory can't be locked";
    write(part);
    part.reset();
    for (int round = 0; round < 3; ++round) {
      EXPECT_TRUE(holds(none.lend(*file, kPart, kPart).memory, value(1)));
      for (unsigned i = 2; i < kParts; ++i) EXPECT_TRUE(holds(none.lend(*file, i * kPart, kPart).memory, value(i)));
    }
  }
}

TEST_F(LentPagesTest, WhatIsWrittenNobodyElseSees) {
  const auto before = lend(2), behind = lend(4);
  for (int round = 0; round < 4; ++round) {
    const auto part = lend(3);
    EXPECT_TRUE(holds(part, value(3)));
    write(part);
    for (unsigned i = 5; i < kParts; ++i) lend(i);  // enough for what is idle to be forgotten
    EXPECT_TRUE(holds(before, value(2)));
    EXPECT_TRUE(holds(behind, value(4)));
  }
  write(before);
  write(behind);
  EXPECT_TRUE(holds(lend(3), value(3)));
  EXPECT_TRUE(holds(before, '!'));
  EXPECT_TRUE(holds(behind, '!'));
}

// Nobody beside it: all its pages are forgotten, and the file's can be had again.
TEST_F(LentPagesTest, WhatWasWrittenToIsForgottenOnceItIsWanted) {
  if (!says_what_was_written_to()) GTEST_SKIP() << "the system doesn't say what was written to";
  auto part = lend(3);
  const std::byte* const at = part.get();
  write(part);
  part.reset();
  EXPECT_NE(lend(3).get(), at);
  part = lend(3);
  EXPECT_EQ(part.get(), at);
  EXPECT_TRUE(holds(part, value(3)));
}

TEST_F(LentPagesTest, SomeStaysMapped) {
  EXPECT_TRUE(holds(lend(0), value(0)));
  std::uint64_t most = test::mapped_bytes_of(path);
  EXPECT_GE(most, kPart);
  for (int round = 0; round < 2; ++round) {
    for (unsigned i = 0; i < kParts; ++i) {
      EXPECT_TRUE(holds(lend(i), value(i)));
      most = std::max(most, test::mapped_bytes_of(path));
    }
  }
  EXPECT_LE(most, 4 * kPart + (std::uint64_t{4} << 20));  // idle, and lent; large pages reach into neighbours
  LentPages none(0);
  EXPECT_TRUE(holds(none.lend(*file, 0, kPart).memory, value(0)));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they need all addresses
// Where each mapping counts by its size.
TEST_F(LentPagesTest, WhereAddressesAreLimitedEachPartIsMappedAlone) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  struct rlimit limited {
    std::min<rlim_t>(before.rlim_max, rlim_t{1} << 46), before.rlim_max
  };
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &limited), 0);
  {
    LentPages own(100 * kPart);
    const auto lent = own.lend(*file, kPart, kPart);
    EXPECT_LT(lent.mapping->bytes().size(), 2 * kPart);
    EXPECT_TRUE(holds(lent.memory, value(1)));
  }
  ::setrlimit(RLIMIT_AS, &before);
}
#endif

TEST_F(LentPagesTest, APartOutlivesAll) {
  std::shared_ptr<std::byte> part;
  {
    LentPages own(0);
    part = own.lend(*file, kPart, kPart).memory;
  }
  file.reset();
  EXPECT_TRUE(holds(part, value(1)));
}

TEST_F(LentPagesTest, WhatTheFileHasNotAnyMoreCantBeBrought) {
  std::filesystem::resize_file(path, 4 * kPart);
  for (int round = 0; round < 2; ++round) {
    const auto lent = pages.lend(*file, 6 * kPart, kPart);
    EXPECT_FALSE(lent.is_there);
    EXPECT_FALSE(lent.bring());
  }
  EXPECT_TRUE(pages.lend(*file, kPart, kPart).bring());
}

TEST_F(LentPagesTest, ManyThreads) {
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned n = 0; n < 40; ++n) {
        const unsigned i = (n * 5 + t) % kParts;
        const auto part = lend(i);
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
