// Files that claim to be huge, and are: sparse ones. No number in them may make the reader take more than it was given.
#include "format/support.hpp"
#include "io/byte_source.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace headrace::test {
namespace {

enum : std::uint32_t { kU8 = 0, kU64 = 10, kString = 8, kArray = 9 };

/// A head, then zeros up to `size` bytes. Counts the bytes that were asked for.
class SparseSource final : public io::ByteSource {
 public:
  SparseSource(std::string head, std::uint64_t size) : head_(std::move(head)), size_(size) {}

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return size_; }
  std::uint64_t bytes_read() const noexcept { return read_; }

  void read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    read_ += out.size();
    std::ranges::fill(out, std::byte{0});
    if (offset >= head_.size()) return;
    const std::size_t part = std::min<std::size_t>(out.size(), head_.size() - static_cast<std::size_t>(offset));
    std::memcpy(out.data(), head_.data() + offset, part);
  }

 private:
  std::string head_;
  std::string name_ = "sparse";
  std::uint64_t size_;
  mutable std::uint64_t read_ = 0;
};

constexpr std::uint64_t kPetabyte = std::uint64_t{1} << 50;
constexpr std::uint64_t kMemory = std::uint64_t{4} << 20;

void expect_refused(const std::string& head, ErrorCode code, std::string_view part) {
  const SparseSource source(head, kPetabyte);
  try {
    format::read_header(source, kMemory);
    ADD_FAILURE() << "accepted, but should say: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
  }
  EXPECT_LE(source.bytes_read(), 3 * kMemory) << part;
}

std::string array_of(std::uint32_t type, std::uint64_t count) { return raw(type) + raw(count); }

TEST(Limits, GgufCounts) {
  expect_refused(GgufFile(std::uint64_t{1} << 32, 0).bytes(), ErrorCode::unsupported, "too many tensors");
  expect_refused(GgufFile(0, std::uint64_t{1} << 32).bytes(), ErrorCode::unsupported, "too many metadata pairs");
  expect_refused(GgufFile(std::uint64_t{1} << 30, 0).bytes(), ErrorCode::budget, "raise --memory");
  expect_refused(GgufFile(100'000, 0).bytes(), ErrorCode::budget, "raise --memory");
}

TEST(Limits, GgufLengths) {
  const std::uint64_t terabyte = std::uint64_t{1} << 40;
  expect_refused(GgufFile(0, 1).add(raw(terabyte)).bytes(), ErrorCode::format, "impossible length");
  expect_refused(GgufFile(0, 1).add(raw(std::uint64_t{UINT32_MAX})).bytes(), ErrorCode::budget, "raise --memory");
  expect_refused(GgufFile(1, 0).add(raw(terabyte)).bytes(), ErrorCode::budget, "raise --memory");
  expect_refused(GgufFile(0, 1).pair("k", kString, raw(terabyte)).bytes(), ErrorCode::budget, "raise --memory");
}

TEST(Limits, GgufArrays) {
  const std::uint64_t many = std::uint64_t{1} << 40;
  for (const std::uint32_t type : {kU8, kU64, kString}) {
    expect_refused(GgufFile(0, 1).pair("k", kArray, array_of(type, many)).bytes(), ErrorCode::budget, "raise --memory");
  }
  // Zeros: an endless array of empty arrays of u8.
  expect_refused(GgufFile(0, 1).pair("k", kArray, array_of(kArray, many)).bytes(), ErrorCode::budget, "raise --memory");
}

TEST(Limits, SafetensorsHeaders) {
  expect_refused(raw(std::uint64_t{100'000'000}) + "{", ErrorCode::budget, "raise --memory");
  expect_refused(raw(kMemory) + "{", ErrorCode::budget, "raise --memory");  // the text would fit, its padding doesn't
}

}  // namespace
}  // namespace headrace::test
