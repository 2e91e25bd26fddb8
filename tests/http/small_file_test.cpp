// A small file whose connections break, each when its test says.
#include "io/http/small_file.hpp"

#include "support/memory_source.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace headrace::io::http {
namespace {

constexpr int kAttempts = 3;

/// Breaks after `most` bytes.
class Breaking final : public test::MemorySource {
 public:
  Breaking(const std::string& bytes, std::size_t most) : MemorySource(bytes), most_(most) {}

  std::size_t read_some_at(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset >= most_) throw Error(ErrorCode::io, "the connection is lost", {.file = name(), .offset = offset});
    return MemorySource::read_some_at(offset, out.first(std::min<std::size_t>(out.size(), most_ - offset)));
  }

 private:
  const std::size_t most_;
};

struct SmallFileTest : testing::Test {
  const std::string bytes = std::string(500, 'a') + std::string(500, 'b');
  int asked = 0;

  /// The n-th connection, from 1 on, breaks after n * `step` bytes, but not after more than `most`.
  SmallFile open(std::size_t step, std::size_t most) {
    const auto ask = [this, step, most] {
      const std::size_t end = std::min(static_cast<std::size_t>(++asked) * step, most);
      return SmallFile::Opened{std::make_shared<Breaking>(bytes, end), {bytes.size(), "\"1\"", ""}};
    };
    return {ask(), ask, kAttempts};
  }
};

TEST_F(SmallFileTest, IsAskedForAgainAsLongAsEachAttemptGetsFurther) {
  const SmallFile file = open(100, bytes.size());
  std::string out(bytes.size(), ' ');
  file.read_at(0, std::as_writable_bytes(std::span(out)));
  EXPECT_EQ(out, bytes);
  EXPECT_EQ(asked, 10);
}

TEST_F(SmallFileTest, IsGivenUpAfterAttemptsThatBroughtNothing) {
  const SmallFile file = open(100, 300);
  std::string out(bytes.size(), ' ');
  EXPECT_THROW(file.read_at(0, std::as_writable_bytes(std::span(out))), Error);
  EXPECT_EQ(asked, 3 + kAttempts);
  file.read_at(0, std::as_writable_bytes(std::span(out).first(300)));  // what has come is there
  EXPECT_EQ(out.substr(0, 300), bytes.substr(0, 300));
}

}  // namespace
}  // namespace headrace::io::http
