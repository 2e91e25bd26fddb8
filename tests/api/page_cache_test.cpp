#include <headrace/page_cache.hpp>

#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/vfs.h>

namespace headrace {
namespace {

using test::random_bytes;
using test::TempFolder;

bool lies_in_memory(const std::filesystem::path& path) {
  struct statfs about {};
  return ::statfs(path.c_str(), &about) == 0 && about.f_type == TMPFS_MAGIC;
}

TEST(PageCacheOfCheckpoints, IsOfAllFilesOfThisMachine) {
  const TempFolder folder;
  test::save(folder / "m.safetensors", {random_bytes("w", DType::F32, {300, 1000}, 1)});
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
  const auto before = cached_share(checkpoint);
  if (!before) GTEST_SKIP() << "the kernel doesn't say";
  EXPECT_EQ(before, 1);
  EXPECT_TRUE(drop_cached(checkpoint));
  EXPECT_EQ(cached_share(checkpoint), lies_in_memory(folder / "m.safetensors") ? 1 : 0);
  EXPECT_EQ(test::bytes_in(checkpoint, *checkpoint.find("w")), random_bytes("w", DType::F32, {300, 1000}, 1).bytes);
}

TEST(PageCacheOfCheckpoints, WhatIsMappedStays) {
  const TempFolder folder;
  test::save(folder / "m.safetensors", {random_bytes("w", DType::F32, {300, 1000}, 1)});
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
  if (!cached_share(checkpoint)) GTEST_SKIP() << "the kernel doesn't say";
  const auto mapping = FileMapping::map(checkpoint, 0);
  unsigned sum = 0;
  for (const std::byte byte : mapping->bytes()) sum += std::to_integer<unsigned>(byte);
  EXPECT_GT(sum, 0U);
  EXPECT_TRUE(drop_cached(checkpoint));
  EXPECT_GT(cached_share(checkpoint).value(), 0.9);
}

}  // namespace
}  // namespace headrace
