// Mapped pages whose file ends before them.
#include "io/fault_watch.hpp"

#include "io/file.hpp"
#include "io/mapping.hpp"
#include "support/temp_folder.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace headrace::io {
namespace {

struct FaultWatchTest : testing::Test {
  const test::TempFolder folder;
  const std::string path = folder / "file";
  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

  FaultWatchTest() { std::ofstream(path) << std::string(8 * page, 'x'); }
  void cut(std::size_t pages) const { std::filesystem::resize_file(path, pages * page); }
};

TEST_F(FaultWatchTest, ZerosTakeThePlaceOfWhatIsGone) {
  const File file = File::open(path);
  const Mapping mapping(file), other(file);
  const FaultWatch watch(mapping.pages()), untouched(other.pages());
  cut(3);
  EXPECT_EQ(mapping.bytes()[3 * page - 1], std::byte{'x'});
  EXPECT_FALSE(watch.broken());
  EXPECT_EQ(mapping.bytes()[5 * page + 7], std::byte{0});
  EXPECT_TRUE(watch.broken());
  EXPECT_EQ(mapping.bytes().back(), std::byte{0});
  EXPECT_EQ(mapping.bytes()[0], std::byte{'x'});
  EXPECT_FALSE(untouched.broken());
}

TEST_F(FaultWatchTest, SlotsAreUsedAgainAndMoreAreMade) {
  const File file = File::open(path);
  std::vector<std::unique_ptr<Mapping>> mappings;
  std::vector<std::unique_ptr<FaultWatch>> watches;
  for (int round = 0; round < 2; ++round) {
    watches.clear();
    mappings.clear();
    for (int i = 0; i < 600; ++i) {
      mappings.push_back(std::make_unique<Mapping>(file));
      watches.push_back(std::make_unique<FaultWatch>(mappings.back()->pages()));
      ASSERT_FALSE(watches.back()->broken());
    }
  }
  cut(1);
  EXPECT_EQ(mappings[599]->bytes()[2 * page], std::byte{0});
  EXPECT_EQ(mappings[0]->bytes()[2 * page], std::byte{0});
  EXPECT_TRUE(watches[599]->broken());
  EXPECT_TRUE(watches[0]->broken());
  EXPECT_FALSE(watches[300]->broken());
}

TEST_F(FaultWatchTest, ManyThreadsAtOnce) {
  const File file = File::open(path);
  const Mapping mapping(file);
  const FaultWatch watch(mapping.pages());
  cut(0);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 50; ++n) {
        const Mapping own(file, 0, 8 * page);
        const FaultWatch of_own(own.pages());
        EXPECT_EQ(own.bytes()[static_cast<std::size_t>(i) * page], std::byte{0});
        EXPECT_TRUE(of_own.broken());
      }
      EXPECT_EQ(mapping.bytes()[static_cast<std::size_t>(i) * page], std::byte{0});
    });
  }
  threads.clear();
  EXPECT_TRUE(watch.broken());
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
using FaultWatchDeathTest = FaultWatchTest;

TEST_F(FaultWatchDeathTest, WhatNobodyWatchesEndsTheProgramAsBefore) {
  const File file = File::open(path);
  const Mapping watched(file), mapping(file);
  const FaultWatch watch(watched.pages());
  cut(0);
  EXPECT_EXIT((void)*const_cast<volatile std::byte*>(mapping.bytes().data()), testing::KilledBySignal(SIGBUS), "");
}

TEST_F(FaultWatchDeathTest, AHandlerThatWasThereIsStillAsked) {
  const File file = File::open(path);
  const Mapping mapping(file);
  cut(0);
  EXPECT_EXIT(
      {
        ::signal(SIGBUS, [](int) { ::_exit(7); });
        const FaultWatch watch(std::span<std::byte>{});
        (void)*const_cast<volatile std::byte*>(mapping.bytes().data());
      },
      testing::ExitedWithCode(7), "");
}
#endif

}  // namespace
}  // namespace headrace::io
