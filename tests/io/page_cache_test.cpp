#include "io/page_cache.hpp"

#include "support/temp_folder.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace headrace::io {
namespace {

constexpr std::size_t kPages = 300;

class PageCache : public testing::Test {
 protected:
  PageCache() {
    test::write_file(folder_ / "file", std::string(kPages * 4096 - 100, 'x'));
    file_.emplace(File::open(folder_ / "file"));
  }

  // False on a file system that is the cache, and keeps everything.
  bool drop() const {
    struct statfs about {};
    if (::fstatfs(file_->descriptor(), &about) != 0 || about.f_type == TMPFS_MAGIC) return false;
    return ::fsync(file_->descriptor()) == 0 && ::posix_fadvise(file_->descriptor(), 0, 0, POSIX_FADV_DONTNEED) == 0;
  }
  void read_pages(std::size_t count) const {
    ::posix_fadvise(file_->descriptor(), 0, 0, POSIX_FADV_RANDOM);  // no reading ahead
    std::vector<std::byte> bytes(count * 4096);
    file_->read_at(0, bytes);
  }

  test::TempFolder folder_;
  std::optional<File> file_;
};

TEST_F(PageCache, ShareIsOfWhatIsThere) {
  if (!drop()) GTEST_SKIP() << "the temporary folder is in memory";
  const auto nothing = cached_share(*file_);
  if (!nothing) GTEST_SKIP() << "the kernel doesn't say";
  EXPECT_EQ(*nothing, 0);
  EXPECT_EQ(mapped_share(*file_), 0);
  EXPECT_FALSE(is_cached(*file_, 0, 1).value_or(false));
  read_pages(kPages / 3);
  EXPECT_DOUBLE_EQ(cached_share(*file_).value(), 1. / 3);
  EXPECT_DOUBLE_EQ(mapped_share(*file_).value(), 1. / 3);
}

TEST_F(PageCache, WhatWasWrittenIsAllThere) {
  const auto share = cached_share(*file_);
  if (!share) GTEST_SKIP() << "the kernel doesn't say";
  EXPECT_EQ(*share, 1);
  EXPECT_EQ(mapped_share(*file_), 1);
}

TEST_F(PageCache, ForgetsWhatWasJustWritten) {
  if (!cached_share(*file_)) GTEST_SKIP() << "the kernel doesn't say";
  flush_and_drop(*file_);
  // A file system that is the cache keeps everything.
  const bool on_disk = drop();
  EXPECT_EQ(cached_share(*file_), on_disk ? 0 : 1);
  std::vector<std::byte> bytes(100);
  file_->read_at(5000, bytes);
  EXPECT_EQ(bytes.front(), std::byte{'x'});
}

// Of so many bytes only parts are looked at.
TEST_F(PageCache, LargeFilesAreCachedWhenTheirPartsAre) {
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20, kSize = 160 * kMiB;
  const auto path = folder_ / "large";
  test::write_file(path, "");
  std::filesystem::resize_file(path, kSize);
  file_.emplace(File::open(path));
  if (!drop()) GTEST_SKIP() << "the temporary folder is in memory";
  if (!cached_share(*file_)) GTEST_SKIP() << "the kernel doesn't say";
  EXPECT_FALSE(is_cached(*file_, 0, kSize).value_or(false));
  // Where memory is short, some may be gone before all are read.
  for (int i = 0; i < 5 && cached_share(*file_) != 1; ++i) read_pages(kSize / 4096);
  EXPECT_TRUE(is_cached(*file_, 0, kSize).value_or(false));
  EXPECT_TRUE(is_cached(*file_, 12345, kSize - 23456).value_or(false));
  for (const std::uint64_t at : {std::uint64_t{0}, 70 * kMiB, kSize - 8 * kMiB}) {
    drop_cached(*file_, at, 8 * kMiB);
    EXPECT_FALSE(is_cached(*file_, 0, kSize).value_or(false)) << at;
    read_pages(kSize / 4096);
  }
}

TEST_F(PageCache, AnEmptyFileIsAllThere) {
  test::write_file(folder_ / "empty", "");
  const File empty = File::open(folder_ / "empty");
  EXPECT_EQ(cached_share(empty), 1);
  EXPECT_EQ(mapped_share(empty), 1);
}

}  // namespace
}  // namespace headrace::io
