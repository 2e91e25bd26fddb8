#include "io/direct_reader.hpp"

#include "io/page_cache.hpp"
#include "support/temp_folder.hpp"

#include <headrace/error.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace headrace::io {
namespace {

using Engine = DirectReader::Engine;
constexpr std::size_t kBlock = DirectReader::kAlignment;
constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::byte kUntouched{0xA5};

std::vector<std::byte> random_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::mt19937_64 random(size);
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t number = random();
    std::memcpy(bytes.data() + i, &number, std::min<std::size_t>(8, size - i));
  }
  return bytes;
}

// Memory whose address is `shift` modulo a block, between bytes that must stay as they are.
class Target {
 public:
  Target(std::size_t size, std::size_t shift) : memory_(size + 3 * kBlock, kUntouched) {
    const auto at = reinterpret_cast<std::uintptr_t>(memory_.data());
    begin_ = kBlock + (shift + kBlock - at % kBlock) % kBlock;
    out_ = std::span(memory_).subspan(begin_, size);
  }
  std::span<std::byte> out() const { return out_; }
  bool holds(std::span<const std::byte> expected) const {
    return out_.empty() || std::memcmp(out_.data(), expected.data(), out_.size()) == 0;
  }
  bool kept_its_edges() const {
    const auto untouched = [](std::byte byte) { return byte == kUntouched; };
    const auto all = std::span(memory_);
    const auto before = all.first(begin_), after = all.subspan(begin_ + out_.size());
    return std::all_of(before.begin(), before.end(), untouched) && std::all_of(after.begin(), after.end(), untouched);
  }

 private:
  std::vector<std::byte> memory_;
  std::size_t begin_ = 0;
  std::span<std::byte> out_;
};

// Each test runs with either engine, on a file in the temporary folder.
class Direct : public testing::TestWithParam<Engine> {
 protected:
  void make_file(std::size_t size) {
    bytes_ = random_bytes(size);
    test::write_file(path_, bytes_);
    file_.emplace(File::open(path_));
  }
  std::unique_ptr<DirectReader> open(unsigned lanes, std::size_t lane_bytes) const {
    return DirectReader::open(*file_, lanes, lane_bytes, GetParam());
  }
  std::span<const std::byte> part(std::size_t offset, std::size_t size) const {
    return std::span(bytes_).subspan(offset, size);
  }
  // Reads the part into memory at `shift` modulo a block, and compares.
  void check(const DirectReader& reader, std::size_t offset, std::size_t size, std::size_t shift) const {
    const Target target(size, shift);
    reader.read_at(offset, target.out());
    EXPECT_TRUE(target.holds(part(offset, size))) << size << " bytes at " << offset << ", memory at " << shift;
    EXPECT_TRUE(target.kept_its_edges()) << size << " bytes at " << offset << ", memory at " << shift;
  }

  test::TempFolder folder_;
  const std::filesystem::path path_ = folder_ / "file";
  std::vector<std::byte> bytes_;
  std::optional<File> file_;
};

#define OPEN_OR_SKIP(name, lanes, lane_bytes)      \
  const auto name = this->open(lanes, lane_bytes); \
  if (!name) GTEST_SKIP() << "no direct reads in the temporary folder"

INSTANTIATE_TEST_SUITE_P(Engines, Direct, testing::Values(Engine::automatic, Engine::pread),
                         [](const auto& about) { return about.param == Engine::pread ? "pread" : "automatic"; });

TEST_P(Direct, ReadsAnyPartToAnyAddress) {
  make_file(44 * kBlock + 123);
  OPEN_OR_SKIP(reader, 1, 1);
  const std::size_t edges[] = {0, 1, 511, 512, kBlock - 1};
  std::vector<std::size_t> sizes;
  for (const std::size_t blocks : {0, 1, 2, 17}) {
    for (const std::size_t more : edges) sizes.push_back(blocks * kBlock + more);
  }
  for (const std::size_t block : {0, 1, 22}) {
    for (const std::size_t edge : edges) {
      const std::size_t offset = block * kBlock + edge;
      for (const std::size_t size : sizes) {
        check(*reader, offset, size, edge);        // congruent
        check(*reader, offset, size, edge ^ 512);  // where the disk wants no more than sectors
        for (const std::size_t shift : edges) check(*reader, offset, size, shift);
      }
    }
  }
}

TEST_P(Direct, ReadsTheEndOfAFileThatIsNoWholeBlock) {
  for (const std::size_t more : {std::size_t{1}, std::size_t{511}, std::size_t{512}, kBlock - 1}) {
    make_file(20 * kBlock + more);
    OPEN_OR_SKIP(reader, 1, 1);
    for (const std::size_t size : {std::size_t{1}, more, more + 1, kBlock + more, 20 * kBlock + more}) {
      const std::size_t offset = bytes_.size() - size;
      check(*reader, offset, size, offset % kBlock);
      check(*reader, offset, size, 8);
    }
    check(*reader, bytes_.size(), 0, 0);
  }
}

TEST_P(Direct, ReadsManyRequestsWorthOfBytes) {
  make_file(20 * kMiB + 777);
  for (const std::size_t lane : {std::size_t{1}, kMiB, 24 * kMiB}) {
    OPEN_OR_SKIP(reader, 1, lane);
    check(*reader, 0, bytes_.size(), 0);
    check(*reader, 0, bytes_.size(), 16);
    check(*reader, 5000, 17 * kMiB, 5000 % kBlock);
    check(*reader, 5000, 17 * kMiB, 0);
  }
}

TEST_P(Direct, LeavesThePageCacheAlone) {
  make_file(9 * kMiB + 1);
  OPEN_OR_SKIP(reader, 1, kMiB);
  ASSERT_EQ(::fsync(file_->descriptor()), 0);
  ASSERT_EQ(::posix_fadvise(file_->descriptor(), 0, 0, POSIX_FADV_DONTNEED), 0);
  if (cached_share(*file_) != 0) GTEST_SKIP() << "the temporary folder is in memory, or the kernel doesn't say";
  check(*reader, 0, bytes_.size(), 0);
  check(*reader, 17, 8 * kMiB, 0);
  EXPECT_EQ(cached_share(*file_), 0);
}

TEST_P(Direct, MoreThreadsThanLanesWaitForThem) {
  make_file(4 * kMiB + 99);
  OPEN_OR_SKIP(reader, 2, 256 << 10);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 20; ++i) {
        const std::size_t offset = random() % bytes_.size();
        const std::size_t size = std::min<std::size_t>(random() % (2 * kMiB), bytes_.size() - offset);
        const Target target(size, random() % 2 == 0 ? offset % kBlock : random() % kBlock);
        reader->read_at(offset, target.out());
        if (!target.holds(part(offset, size)) || !target.kept_its_edges()) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// What both say of the same read; `out` is filled up to where it fails.
void expect_same_error(const DirectReader& reader, const File& file, std::uint64_t offset, std::span<std::byte> out) {
  std::string expected, found;
  try {
    file.read_at(offset, out);
  } catch (const Error& error) {
    expected = error.what();
  }
  std::fill(out.begin(), out.end(), kUntouched);
  try {
    reader.read_at(offset, out);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    found = error.what();
  }
  EXPECT_FALSE(expected.empty());
  EXPECT_EQ(found, expected);
}

TEST_P(Direct, AFileThatBecameShorterEndsTooSoon) {
  make_file(20 * kMiB);
  OPEN_OR_SKIP(reader, 2, kMiB);
  for (const std::size_t end : {10 * kMiB + 100, 10 * kMiB, kMiB + 1}) {
    ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(end)), 0);
    for (const std::size_t shift : {0, 8}) {
      const Target target(bytes_.size(), shift);
      expect_same_error(*reader, *file_, 0, target.out());
      EXPECT_EQ(std::memcmp(target.out().data(), bytes_.data(), end), 0);
      EXPECT_TRUE(target.kept_its_edges());
      expect_same_error(*reader, *file_, end + 5000, target.out().first(2 * kMiB));
    }
    check(*reader, 0, end, 0);  // the reader is as good as before
  }
}

TEST_P(Direct, NothingIsReadPastTheEnd) {
  make_file(3 * kBlock + 10);
  OPEN_OR_SKIP(reader, 1, 1);
  const Target target(kBlock, 0);
  expect_same_error(*reader, *file_, 3 * kBlock, target.out());
  expect_same_error(*reader, *file_, 100 * kBlock, target.out());
  EXPECT_THROW(reader->read_at(~std::uint64_t{0} - 10, target.out()), Error);
  EXPECT_THROW(reader->read_at((std::uint64_t{1} << 63) - 10, target.out()), Error);
}

TEST_P(Direct, TheLowestOfManyFailuresIsTheError) {
  make_file(12 * kMiB);
  OPEN_OR_SKIP(reader, 1, kMiB);
  void* const at = ::mmap(nullptr, 12 * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(at, MAP_FAILED);
  const std::span<std::byte> out(static_cast<std::byte*>(at), 12 * kMiB);
  // Memory that can't be written to: a read into it fails as a disk's does.
  const std::size_t lowest = 5 * kMiB + 3 * kBlock;
  for (const std::size_t bad : {lowest, 6 * kMiB, 9 * kMiB})
    ASSERT_EQ(::mprotect(out.data() + bad, kBlock, PROT_READ), 0);
  try {
    reader->read_at(0, out);
    ADD_FAILURE() << "it read into memory that isn't there";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_EQ(error.detail().offset, lowest) << error.what();
    EXPECT_EQ(error.detail().file, path_.string());
  }
  ::munmap(at, 12 * kMiB);
  check(*reader, 0, bytes_.size(), 0);
}

// The descriptor that is open for direct reads.
int direct_descriptor() {
  for (int fd = 0; fd < 1000; ++fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_DIRECT) != 0) return fd;
  }
  return -1;
}

TEST_P(Direct, WhatCannotBeReadDirectlyIsReadAllTheSame) {
  make_file(12 * kMiB + 5);
  OPEN_OR_SKIP(reader, 1, kMiB);
  const int direct = direct_descriptor();
  ASSERT_GE(direct, 0);
  const Descriptor refuses(::open(path_.c_str(), O_WRONLY)), ends(::open("/dev/null", O_RDONLY));
  for (const Descriptor* bad : {&refuses, &ends}) {
    ASSERT_EQ(::dup2(bad->get(), direct), direct);
    check(*reader, 0, bytes_.size(), 0);
    check(*reader, 100, 10 * kMiB, 9);
  }
}

TEST_P(Direct, CountsItsBuffers) {
  make_file(1);
  constexpr std::size_t kStep = DirectReader::kDepth * kBlock;
  OPEN_OR_SKIP(least, 0, 0);
  EXPECT_EQ(least->memory(), kStep);
  check(*least, 0, 1, 0);
  EXPECT_EQ(open(3, kStep)->memory(), 3 * kStep);
  EXPECT_EQ(open(2, kStep + 1)->memory(), 4 * kStep);
  EXPECT_EQ(open(2, 8 * kMiB)->memory(), 16 * kMiB);
  for (const std::size_t size : {std::size_t{1} << 62, ~std::size_t{0}, ~std::size_t{0} / 2}) {
    EXPECT_THROW((void)open(2, size), Error);
  }
}

TEST_P(Direct, AReplacedFileIsStillTheOneThatWasOpened) {
  make_file(3 * kBlock);
  test::write_file(folder_ / "other", std::string(3 * kBlock, 'x'));
  std::filesystem::rename(folder_ / "other", path_);
  OPEN_OR_SKIP(reader, 1, 1);
  check(*reader, 0, 3 * kBlock, 0);
}

TEST_P(Direct, AFileSystemInMemoryIsReadOrRefused) {
  const std::filesystem::path path = "/dev/shm/headrace-direct-" + std::to_string(::getpid());
  const auto bytes = random_bytes(3 * kMiB + 5);
  try {
    test::write_file(path, bytes);
  } catch (const std::runtime_error&) {
    GTEST_SKIP() << "no /dev/shm to write to";
  }
  const File file = File::open(path);
  std::filesystem::remove(path);
  const auto reader = DirectReader::open(file, 1, kMiB, GetParam());
  if (!reader) return;
  const Target target(bytes.size(), 0);
  reader->read_at(0, target.out());
  EXPECT_TRUE(target.holds(bytes));
}

/// Lets the process open `more` files and no others, for as long as it lives.
class FewFiles {
 public:
  explicit FewFiles(unsigned more) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    int end = 0;  // the numbers below it are all taken, but for `more`
    for (; ::fcntl(end, F_GETFD) >= 0 || more-- > 0; ++end) {
    }
    const rlimit few{static_cast<rlim_t>(end), before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewFiles() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_P(Direct, LanesWithoutARingReadAllTheSame) {
  make_file(9 * kMiB + 1);
  OPEN_OR_SKIP(whole, 3, kMiB);
  const std::string usual = whole->engine();
  std::unique_ptr<DirectReader> nothing, none, some;
  {
    const FewFiles limit(0);
    nothing = open(3, kMiB);
  }
  {
    const FewFiles limit(1);
    none = open(3, kMiB);
  }
  {
    const FewFiles limit(2);
    some = open(3, kMiB);
  }
  EXPECT_EQ(nothing, nullptr);
  ASSERT_NE(none, nullptr);
  EXPECT_STREQ(none->engine(), "pread");
  check(*none, 10, 9 * kMiB - 10, 0);
  ASSERT_NE(some, nullptr);
  EXPECT_EQ(some->engine(), usual);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) threads.emplace_back([&] { check(*some, 10, 9 * kMiB - 10, 10); });
  for (auto& thread : threads) thread.join();
}

TEST(DirectReader, SaysHowItReads) {
  const test::TempFolder folder;
  test::write_file(folder / "file", "x");
  const File file = File::open(folder / "file");
  const auto reader = DirectReader::open(file, 1, 1, Engine::pread);
  if (!reader) GTEST_SKIP() << "no direct reads in the temporary folder";
  EXPECT_STREQ(reader->engine(), "pread");
  EXPECT_STREQ(DirectReader::open(file, 1, 1)->engine(), Ring::make(1) ? "io_uring" : "pread");
  EXPECT_EQ(kBlock % reader->memory_alignment(), 0U);
}

}  // namespace
}  // namespace headrace::io
