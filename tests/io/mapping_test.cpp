#include "io/mapping.hpp"

#include "support/temp_folder.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <string>

namespace headrace::io {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20, kSize = 7 * kMiB + 1234;

class MappingTest : public testing::Test {
 protected:
  static std::string content() {
    std::string bytes(kSize, 0);
    for (std::size_t i = 0; i < kSize; ++i) bytes[i] = static_cast<char>(i % 251);
    return bytes;
  }

  static void expect_bytes(const Mapping& mapping, std::size_t first, std::size_t count) {
    ASSERT_EQ(mapping.bytes().size(), count);
    EXPECT_EQ(mapping.bytes().data(), mapping.pages().data() + mapping.lead());
    for (const std::size_t at : {std::size_t{0}, count / 2, count - 1})
      EXPECT_EQ(mapping.bytes()[at], static_cast<std::byte>((first + at) % 251));
  }

  const test::TempFolder folder_;
  const File file_ = (test::write_file(folder_ / "file", content()), File::open(folder_ / "file"));
};

TEST_F(MappingTest, FromTheFirstPageOn) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const Mapping mapping(file_, 3 * kMiB + 5, kMiB);
  expect_bytes(mapping, 3 * kMiB + 5, kMiB);
  EXPECT_EQ(mapping.lead(), (3 * kMiB + 5) % page);
  EXPECT_EQ(mapping.pages().size(), mapping.lead() + kMiB);
}

TEST_F(MappingTest, WithTheLargePagesThatItHasPartsOf) {
  const Mapping mapping(file_, 3 * kMiB + 5, kMiB, Mapping::Around::large_pages);
  expect_bytes(mapping, 3 * kMiB + 5, kMiB);
  EXPECT_EQ(mapping.lead(), kMiB + 5);
  EXPECT_EQ(mapping.pages().size(), 4 * kMiB);
  EXPECT_EQ(mapping.pages()[0], static_cast<std::byte>(2 * kMiB % 251));
}

TEST_F(MappingTest, NothingBehindTheFile) {
  const Mapping mapping(file_, 5 * kMiB, kSize - 5 * kMiB, Mapping::Around::large_pages);
  expect_bytes(mapping, 5 * kMiB, kSize - 5 * kMiB);
  EXPECT_EQ(mapping.pages().size(), kSize - 4 * kMiB);
  EXPECT_TRUE(mapping.forget(0, mapping.pages().size()));
  EXPECT_TRUE(mapping.populate(mapping.lead(), mapping.bytes().size()));
  expect_bytes(mapping, 5 * kMiB, kSize - 5 * kMiB);
}

}  // namespace
}  // namespace headrace::io
