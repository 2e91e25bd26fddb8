#include "io/wide_write.hpp"

#include "io/output_file.hpp"

#include <headrace/error.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

namespace headrace::io {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

std::vector<std::byte> random_run(std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::mt19937_64 random(size);
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const std::uint64_t number = random();
    std::memcpy(bytes.data() + i, &number, 8);
  }
  return bytes;
}

// A file of tmpfs without a name, as memfd's are.
struct MemoryFile {
  explicit MemoryFile(std::size_t size) : fd(::memfd_create("test", 0)) {
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0) throw std::runtime_error("no file in memory");
  }
  ~MemoryFile() { ::close(fd); }
  std::vector<std::byte> read(std::uint64_t offset, std::size_t size) const {
    std::vector<std::byte> bytes(size);
    EXPECT_EQ(::pread(fd, bytes.data(), size, static_cast<off_t>(offset)), static_cast<ssize_t>(size));
    return bytes;
  }
  int fd;
};

WriteAt writes_to(int fd) {
  return [fd](std::uint64_t offset, std::span<const std::byte> bytes) {
    ASSERT_EQ(::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)), static_cast<ssize_t>(bytes.size()));
  };
}

TEST(WideWrite, WritesEveryByteOnceWhereverItBegins) {
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4096}, 8 * kMiB - 1, 8 * kMiB}) {
    for (const std::size_t size : {32 * kMiB, 33 * kMiB + 12345, 8 * kMiB, std::size_t{1}}) {
      const MemoryFile file(offset + size + 100);
      const auto bytes = random_run(size);
      write_wide(file.fd, offset, bytes, writes_to(file.fd));
      EXPECT_EQ(file.read(offset, size), bytes) << offset << " " << size;
      EXPECT_EQ(file.read(offset + size, 100), std::vector<std::byte>(100));
      const auto before = static_cast<std::size_t>(offset);
      EXPECT_EQ(file.read(0, before), std::vector<std::byte>(before));
    }
  }
}

TEST(WideWrite, DoesItAllWithWriteWhereNothingCanBeMapped) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::uint64_t written = 0;
  const auto bytes = random_run(40 * kMiB);
  write_wide(ends[0], 0, bytes, [&](std::uint64_t, std::span<const std::byte> part) { written += part.size(); });
  EXPECT_EQ(written, bytes.size());
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(WideWrite, PassesOnWhatWriteThrows) {
  const MemoryFile file(64 * kMiB);
  const auto bytes = random_run(64 * kMiB);
  EXPECT_THROW(write_wide(file.fd, 0, bytes,
                          [](std::uint64_t, std::span<const std::byte>) { throw std::runtime_error("full"); }),
               std::runtime_error);
}

TEST(WideWrite, IsForLargeRunsIntoMemory) {
  const MemoryFile file(0);
  EXPECT_FALSE(is_worth_two(file.fd, kMiB));
  EXPECT_FALSE(is_worth_two(-1, 64 * kMiB));
}

}  // namespace
}  // namespace headrace::io
