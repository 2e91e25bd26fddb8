#include "io/uring.hpp"

#include "support/temp_folder.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace headrace::io {
namespace {

constexpr unsigned kEntries = 4;

class Uring : public testing::Test {
 protected:
  void SetUp() override {
    if (!ring_) GTEST_SKIP() << "no io_uring here";
    std::string text(kEntries * 1000, ' ');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i / 1000);
    test::write_file(folder_ / "file", text);
    file_.emplace(File::open(folder_ / "file"));
  }
  bool start(std::uint64_t part, std::span<std::byte> out) {
    return ring_->start(file_->descriptor(), part * 1000, out, part);
  }

  test::TempFolder folder_;
  std::optional<File> file_;
  std::unique_ptr<Ring> ring_ = Ring::make(kEntries);
};

using Buffer = std::array<std::byte, 1000>;

TEST_F(Uring, ReadsAsManyAtOnceAsItWasMadeFor) {
  for (int round = 0; round < 10; ++round) {  // more than once around the ring
    std::array<Buffer, kEntries> out{};
    for (unsigned i = 0; i < kEntries; ++i) ASSERT_TRUE(start(i, out[i]));
    Buffer more;
    EXPECT_FALSE(start(0, more));
    EXPECT_EQ(ring_->in_flight(), kEntries);
    std::array<bool, kEntries> done{};
    for (unsigned i = 0; i < kEntries; ++i) {
      const auto completion = ring_->wait();
      EXPECT_EQ(completion.result, 1000);
      ASSERT_LT(completion.tag, kEntries);
      EXPECT_FALSE(std::exchange(done[completion.tag], true));
      EXPECT_EQ(out[completion.tag].front(), static_cast<std::byte>('a' + completion.tag));
      EXPECT_EQ(out[completion.tag].back(), static_cast<std::byte>('a' + completion.tag));
    }
    EXPECT_EQ(ring_->in_flight(), 0U);
  }
}

TEST_F(Uring, SaysWhatWentWrong) {
  Buffer out;
  ASSERT_TRUE(ring_->start(-1, 0, out, 7));
  const auto failed = ring_->wait();
  EXPECT_EQ(failed.tag, 7U);
  EXPECT_EQ(failed.result, -EBADF);
  ASSERT_TRUE(ring_->start(file_->descriptor(), kEntries * 1000 - 10, out, 8));
  EXPECT_EQ(ring_->wait().result, 10);
  ASSERT_TRUE(start(kEntries, out));
  EXPECT_EQ(ring_->wait().result, 0);
}

TEST_F(Uring, WaitsForWhatIsInFlightWhenItGoes) {
  std::array<Buffer, kEntries> out{};
  for (unsigned i = 0; i < kEntries; ++i) ASSERT_TRUE(start(i, out[i]));
  ring_.reset();
  for (unsigned i = 0; i < kEntries; ++i) EXPECT_EQ(out[i].back(), static_cast<std::byte>('a' + i));
}

}  // namespace
}  // namespace headrace::io
