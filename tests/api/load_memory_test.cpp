// What loading holds of the host's memory: never a second copy, and on the way to a device no copy at all.
#include "support/counting_device.hpp"
#include "support/mapped_bytes.hpp"
#include "support/remote_device.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <malloc.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEADRACE_SANITIZED 1
#else
#define HEADRACE_SANITIZED 0
#endif

namespace headrace {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

std::uint64_t status_kib(const char* key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(line.find(':') + 1));
  }
  return 0;
}

std::size_t open_descriptors_of(const std::filesystem::path& path) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the iterator's own is, by now
    count += std::filesystem::read_symlink(entry, gone) == path ? 1 : 0;
  }
  return count;
}

void wait_for(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << "not true within a minute";
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// The most memory held since it was made, beyond what was held then.
class PeakMemory {
 public:
  PeakMemory() {
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak counts from now on
    before_ = status_kib("VmRSS");
  }
  std::uint64_t bytes() const { return (status_kib("VmHWM") - before_) * 1024; }

 private:
  std::uint64_t before_ = 0;
};

// A checkpoint of zeros that takes no room on the disk.
std::uint64_t write_sparse(const std::filesystem::path& path, std::size_t tensors, std::uint64_t tensor_bytes) {
  std::string header = "{";
  for (std::size_t i = 0; i < tensors; ++i) {
    header += (i == 0 ? "" : ",") + std::string("\"blocks.") + std::to_string(i) + ".weight\":{\"dtype\":\"F32\"," +
              "\"shape\":[" + std::to_string(tensor_bytes / 4096) + ",1024],\"data_offsets\":[" +
              std::to_string(i * tensor_bytes) + "," + std::to_string((i + 1) * tensor_bytes) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = header.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length) << header;
  file.close();
  std::filesystem::resize_file(path, sizeof length + length + tensors * tensor_bytes);
  return tensors * tensor_bytes;
}

struct LoadMemoryTest : testing::Test {
  const test::TempFolder folder;
  const std::filesystem::path file = folder / "model.safetensors";

  void SetUp() override {
    if (HEADRACE_SANITIZED) GTEST_SKIP() << "the sanitizer's own memory would be measured";
  }
};

TEST_F(LoadMemoryTest, ToADeviceOnlyWhatIsOnTheWay) {
  const std::uint64_t model = write_sparse(file, 48, 64 * kMiB);
  const auto device =
      std::make_shared<test::CountingDevice>(std::make_shared<test::RemoteDevice>(test::RemoteDevice::Keeps::nothing));
  for (const std::uint64_t budget : {64 * kMiB, 256 * kMiB}) {
    for (const HostReads reads : {HostReads::cached, HostReads::direct}) {
      const bool narrow = (budget == 64 * kMiB) == (reads == HostReads::cached);
      LoadOptions options{.host_reads = reads, .memory = budget};
      if (narrow) options.type = DType::BF16;
      const PeakMemory peak;
      const Weights weights = load(file, device, options);
      const std::uint64_t held = peak.bytes();
      EXPECT_EQ(device->counts().bytes, narrow ? model / 2 : model);
      EXPECT_LE(held, budget + 64 * kMiB);
      std::printf("%s, %llu MiB budget%s: %.1f MiB at most\n", reads == HostReads::direct ? "direct" : "cached",
                  static_cast<unsigned long long>(budget / kMiB), narrow ? ", to BF16" : "",
                  static_cast<double>(held) / kMiB);
    }
  }
}

TEST_F(LoadMemoryTest, OnTheHostTheModelOnce) {
  const std::uint64_t model = write_sparse(file, 12, 64 * kMiB);
  for (const HostReads reads : {HostReads::cached, HostReads::direct, HostReads::mapped}) {
    for (const bool narrow : {false, true}) {
      LoadOptions options{.host_reads = reads, .memory = 64 * kMiB};
      if (narrow) options.type = DType::BF16;
      const PeakMemory peak;
      const Weights weights = load(file, "host", options);
      EXPECT_LE(peak.bytes(), (narrow ? model / 2 : model) + 128 * kMiB);
    }
  }
}

TEST_F(LoadMemoryTest, TakenAndDroppedATensorIsGone) {
  write_sparse(file, 16, 64 * kMiB);
  const PeakMemory peak;
  WeightStream weights = stream(file, "host", {.host_reads = HostReads::cached, .memory = 64 * kMiB});
  std::size_t count = 0;
  while (const auto tensor = weights.next()) ++count;
  EXPECT_EQ(count, 16U);
  EXPECT_LE(peak.bytes(), (64 + 64 + 128) * kMiB);  // budget, and the tensors that are begun
}

// Of a file that isn't cached, pages are brought into memory by many threads: all of them together read that far ahead.
TEST_F(LoadMemoryTest, OfAMappedFileNoMoreThanTheBudgetIsReadAhead) {
  write_sparse(file, 16, 64 * kMiB);
  const PeakMemory peak;
  WeightStream weights = stream(file, "host", {.memory = 16 * kMiB, .threads = 32});
  wait_for([&] { return weights.progress().bytes_done >= 16 * kMiB; });
  EXPECT_GT(test::mapped_bytes_of(file), 0U);
  EXPECT_LE(test::mapped_bytes_of(file), (16 + 64) * kMiB);  // the system maps large pages, and neighbours that it has
  std::size_t count = 0;
  while (const auto tensor = weights.next()) {
    EXPECT_EQ(tensor->bytes(), 64 * kMiB);
    ++count;
  }
  EXPECT_EQ(count, 16U);
  EXPECT_LE(peak.bytes(), (4 * 64 + 16 + 64) * kMiB);  // tensors that are begun, budget, all else
}

TEST_F(LoadMemoryTest, AStreamThatHasEndedKeepsNoWorkingMemory) {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);  // or the C library keeps the staging memory that the device gives back
  write_sparse(file, 4, 8 * kMiB);
  const auto device =
      std::make_shared<test::CountingDevice>(std::make_shared<test::RemoteDevice>(test::RemoteDevice::Keeps::nothing));
  const LoadOptions options{.host_reads = HostReads::direct, .memory = 256 * kMiB, .threads = 4};
  load(file, device, options);  // stacks and other things that the process keeps in any case
  const std::uint64_t before = status_kib("VmData");
  WeightStream weights = stream(file, device, options);
  while (weights.next()) {
  }
  EXPECT_LT(status_kib("VmData"), before + 8 * 1024);  // one thread's buffer
  EXPECT_EQ(open_descriptors_of(file), 1U);            // no second one to read directly
}

}  // namespace
}  // namespace headrace
