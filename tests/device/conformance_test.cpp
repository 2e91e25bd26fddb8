// What every device has to do, on each one that there is.
#include "device/support.hpp"

#include <algorithm>
#include <random>
#include <thread>

namespace headrace::test {
namespace {

class Conformance : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    Candidate candidate = open_candidate(GetParam());
    if (!candidate.device) GTEST_SKIP() << candidate.absent;
    device = std::move(candidate.device);
  }

  void TearDown() override {
    device.reset();
    if (GetParam() != "fake_cuda") return;
    for (const char* what : {"memory", "pinned", "streams", "events", "contexts", "violations"}) {
      EXPECT_EQ(FakeCuda::instance().count(what), 0) << what;
    }
  }

  std::shared_ptr<Device> device;
};

TEST_P(Conformance, SaysWhatItIs) {
  EXPECT_FALSE(device->name().empty());
  EXPECT_FALSE(device->description().empty());
  EXPECT_TRUE(device->name().starts_with(to_string(device->kind())));
  EXPECT_GE(device->alignment(), 64U);
  EXPECT_EQ(device->alignment() & (device->alignment() - 1), 0U);
}

TEST_P(Conformance, SaysHowMuchMemoryThereIs) {
  const DeviceMemory memory = device->memory();
  EXPECT_GT(memory.total, 0U);
  EXPECT_GT(memory.largest, 0U);
  EXPECT_LE(memory.largest, memory.total);
  EXPECT_LE(memory.free.value_or(0), memory.total);
}

TEST_P(Conformance, TakesBuffersOfAnySize) {
  for (const std::size_t bytes : {1U, 7U, 64U, 4097U, 1U << 20, (3U << 20) + 5}) {
    Buffer buffer = device->allocate(bytes);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_NE(buffer.handle(), 0U);
    EXPECT_EQ(buffer.offset(), 0U);
    EXPECT_TRUE(buffer.owned());
    EXPECT_EQ(buffer.device(), device);
    const auto data = numbered(bytes);
    device->upload(buffer, 0, data).wait();
    EXPECT_EQ(contents(*device, buffer), data) << bytes;
  }
}

TEST_P(Conformance, TakesABufferOfNothing) {
  Buffer buffer = device->allocate(0);
  EXPECT_EQ(buffer.bytes(), 0U);
  EXPECT_TRUE(buffer.host_bytes().empty());
  const Upload upload = device->upload(buffer, 0, {});
  EXPECT_TRUE(upload.done());
  device->download(buffer, 0, {});
  EXPECT_TRUE(device->staging(0).bytes().empty());
  EXPECT_EQ(device->wrap(0, 0).bytes(), 0U);
}

TEST_P(Conformance, HostBytesAreTheBuffer) {
  Buffer buffer = device->allocate(1000);
  const auto bytes = buffer.host_bytes();
  EXPECT_EQ(bytes.size(), device->kind() == DeviceKind::host ? 1000U : 0U);
  if (bytes.empty()) return;
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.data()), buffer.handle());
  EXPECT_EQ(buffer.handle() % device->alignment(), 0U);
  std::ranges::fill(bytes, std::byte{42});
  EXPECT_EQ(contents(*device, buffer), std::vector(1000, std::byte{42}));
}

TEST_P(Conformance, TakesPartsInAnyOrder) {
  constexpr std::size_t kPart = 10'007;
  const auto data = numbered(kPart * 50);
  Buffer buffer = device->allocate(data.size());
  std::vector<std::size_t> order(50);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(3));
  std::vector<Upload> uploads;
  for (const std::size_t i : order) {
    uploads.push_back(device->upload(buffer, i * kPart, std::span(data).subspan(i * kPart, kPart)));
  }
  for (const Upload& upload : uploads) upload.wait();
  EXPECT_EQ(contents(*device, buffer), data);
}

TEST_P(Conformance, TheLastOfOverlappingUploadsStays) {
  const auto first = numbered(5000, 1), second = numbered(3000, 2);
  Buffer buffer = device->allocate(5000);
  const Upload a = device->upload(buffer, 0, first);
  const Upload b = device->upload(buffer, 1000, second);
  auto expected = first;
  std::ranges::copy(second, expected.begin() + 1000);
  EXPECT_EQ(contents(*device, buffer), expected);
}

TEST_P(Conformance, GivesParts) {
  const auto data = numbered(100'000);
  Buffer buffer = device->allocate(data.size());
  device->upload(buffer, 0, data).wait();
  for (const auto& [offset, bytes] :
       {std::pair<std::size_t, std::size_t>{0, 1}, {99'999, 1}, {333, 77'777}, {500, 0}}) {
    std::vector<std::byte> out(bytes);
    device->download(buffer, offset, out);
    EXPECT_TRUE(std::ranges::equal(out, std::span(data).subspan(offset, bytes))) << offset;
  }
}

TEST_P(Conformance, DownloadsSeeWhatWasUploadedBefore) {
  const auto data = numbered(1 << 20);
  Buffer buffer = device->allocate(data.size());
  const Upload upload = device->upload(buffer, 0, data);
  EXPECT_EQ(contents(*device, buffer), data);
  EXPECT_TRUE(upload.done());
}

TEST_P(Conformance, UploadsFromAStagingRing) {
  constexpr std::size_t kPart = 65'536, kParts = 64, kSlots = 3;
  const auto data = numbered(kPart * kParts);
  Buffer buffer = device->allocate(data.size());
  std::vector<Staging> staging;
  for (std::size_t i = 0; i < kSlots; ++i) staging.push_back(device->staging(kPart));
  std::vector<Upload> uploads(kSlots);
  for (std::size_t i = 0; i < kParts; ++i) {
    const auto slot = staging[i % kSlots].bytes();
    ASSERT_EQ(slot.size(), kPart);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(slot.data()) % 64, 0U);
    uploads[i % kSlots].wait();
    std::memcpy(slot.data(), data.data() + i * kPart, kPart);
    uploads[i % kSlots] = device->upload(buffer, i * kPart, slot);
  }
  device->synchronize();
  for (const Upload& upload : uploads) EXPECT_TRUE(upload.done());
  EXPECT_EQ(contents(*device, buffer), data);
}

TEST_P(Conformance, DroppedUploadsHaveArrived) {
  const auto data = numbered(300'000);
  Buffer buffer = device->allocate(data.size());
  {
    auto source = data;
    const Upload upload = device->upload(buffer, 0, source);
  }  // the upload goes first, and waits
  EXPECT_EQ(contents(*device, buffer), data);
}

TEST_P(Conformance, AnUploadThatIsReplacedHasArrived) {
  const auto data = numbered(300'000);
  Buffer buffer = device->allocate(data.size());
  auto source = data;
  Upload upload = device->upload(buffer, 0, source);
  upload = Upload();
  EXPECT_TRUE(upload.done());
  std::ranges::fill(source, std::byte{0});
  EXPECT_EQ(contents(*device, buffer), data);
}

TEST_P(Conformance, DoneComesTrueByItself) {
  const auto data = numbered(1 << 20);
  Buffer buffer = device->allocate(data.size());
  const Upload upload = device->upload(buffer, 0, data);
  for (int i = 0; i < 10'000 && !upload.done(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(upload.done());
  upload.wait();
  upload.wait();
}

TEST_P(Conformance, BuffersMayGoBeforeTheirUploads) {
  const auto data = numbered(1 << 20);
  std::vector<Upload> uploads;
  for (int i = 0; i < 8; ++i) {
    Buffer buffer = device->allocate(data.size());
    uploads.push_back(device->upload(buffer, 0, data));
  }
  for (const Upload& upload : uploads) upload.wait();
}

TEST_P(Conformance, ManyThreadsUploadAtOnce) {
  constexpr std::size_t kThreads = 8, kPart = 3001, kRounds = 40;
  const auto data = numbered(kThreads * kRounds * kPart);
  Buffer shared = device->allocate(data.size());
  std::vector<std::thread> threads;
  std::vector<int> wrong(kThreads);
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const Staging staging = device->staging(kPart);
      for (std::size_t round = 0; round < kRounds; ++round) {
        const std::size_t at = (round * kThreads + t) * kPart;
        std::memcpy(staging.bytes().data(), data.data() + at, kPart);
        device->upload(shared, at, staging.bytes()).wait();
        Buffer own = device->allocate(kPart);
        const Upload upload = device->upload(own, 0, staging.bytes());
        if (!std::ranges::equal(contents(*device, own), std::span(data).subspan(at, kPart))) ++wrong[t];
        if (device->memory().total == 0) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(kThreads));
  EXPECT_EQ(contents(*device, shared), data);
}

TEST_P(Conformance, WrapsMemoryOfOthers) {
  const auto data = numbered(10'000);
  Buffer theirs = device->allocate(10'000);
  {
    Buffer part = device->wrap(theirs.handle(), 4000, 2500);
    EXPECT_FALSE(part.owned());
    EXPECT_EQ(part.bytes(), 4000U);
    device->upload(theirs, 0, data).wait();
    device->upload(part, 1000, std::span(data).first(500)).wait();
    EXPECT_EQ(code_of([&] { (void)device->upload(part, 3990, std::span(data).first(11)); }),
              ErrorCode::invalid_argument);
    std::vector<std::byte> out(100);
    device->download(part, 10, out);
    EXPECT_TRUE(std::ranges::equal(out, std::span(data).subspan(2510, 100)));
  }
  auto expected = data;  // and it is still there
  std::copy_n(data.begin(), 500, expected.begin() + 3500);
  EXPECT_EQ(contents(*device, theirs), expected);
}

TEST_P(Conformance, WrapsTensorsOfDLPack) {
  const auto data = numbered(1000);
  Buffer theirs = device->allocate(3000);
  const void* at = reinterpret_cast<const void*>(theirs.handle());
  Buffer tensor = device->wrap(device->dlpack(), at, 512, 1000);
  device->upload(tensor, 0, data).wait();
  std::vector<std::byte> out(1000);
  device->download(theirs, 512, out);
  EXPECT_EQ(out, data);
  const DLPackDevice metal{.type = 8, .id = 0};
  EXPECT_EQ(code_of([&] { (void)device->wrap(metal, at, 0, 1000); }), ErrorCode::invalid_argument);
}

TEST_P(Conformance, RefusesWhatIsNotThere) {
  Buffer buffer = device->allocate(100);
  const auto data = numbered(101);
  std::vector<std::byte> out(2);
  constexpr auto kEnd = static_cast<std::size_t>(-1);
  const auto refused = ErrorCode::invalid_argument;
  EXPECT_EQ(code_of([&] { (void)device->upload(buffer, 0, data); }), refused);
  EXPECT_EQ(code_of([&] { (void)device->upload(buffer, 100, std::span(data).first(1)); }), refused);
  EXPECT_EQ(code_of([&] { (void)device->upload(buffer, kEnd, std::span(data).first(2)); }), refused);
  EXPECT_EQ(code_of([&] { device->download(buffer, 99, out); }), refused);
  EXPECT_EQ(code_of([&] { device->download(buffer, kEnd, out); }), refused);
  EXPECT_EQ(code_of([&] { (void)device->wrap(0, 100); }), refused);
  EXPECT_EQ(code_of([&] { (void)device->wrap(buffer.handle(), kEnd, 2); }), refused);
  const Buffer moved = std::move(buffer);
  EXPECT_EQ(code_of([&] { device->download(buffer, 0, {}); }), refused);  // NOLINT(bugprone-use-after-move)
  const auto other = std::make_shared<CountingDevice>(device);
  EXPECT_EQ(code_of([&] { other->download(moved, 0, out); }), refused);
}

TEST_P(Conformance, TooLargeIsAnErrorAndNoMore) {
  for (const std::size_t bytes : {std::size_t{1} << 60, static_cast<std::size_t>(-1)}) {
    try {
      (void)device->allocate(bytes);
      FAIL() << bytes;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::no_space) << error.what();
      EXPECT_EQ(error.detail().file, device->name());
      EXPECT_TRUE(error.detail().expected.find(std::to_string(bytes)) != std::string::npos ||
                  error.detail().found.find(std::to_string(bytes)) != std::string::npos)
          << error.what();
    }
  }
  Buffer buffer = device->allocate(100);
  const auto data = numbered(100);
  device->upload(buffer, 0, data).wait();
  EXPECT_EQ(contents(*device, buffer), data);
}

TEST_P(Conformance, TheDeviceGoesLast) {
  const std::weak_ptr<Device> watched = device;
  Buffer buffer = device->allocate(1000);
  Staging staging = device->staging(1000);
  Upload upload = device->upload(buffer, 0, staging.bytes());
  device.reset();
  EXPECT_FALSE(watched.expired());
  upload.wait();
  upload = Upload();
  buffer = Buffer();
  EXPECT_FALSE(watched.expired());
  staging = Staging();
  EXPECT_TRUE(watched.expired());
}

// Each is the last that holds the device when it is replaced by one of another.
TEST_P(Conformance, ABufferThatIsReplacedGoesBeforeItsDevice) {
  const std::weak_ptr<Device> watched = device;
  const auto other = open_device("host");
  const bool shared = device == other;
  Buffer buffer = device->allocate(1000);
  device.reset();
  buffer = other->allocate(10);
  EXPECT_EQ(watched.expired(), !shared);
}

TEST_P(Conformance, StagingThatIsReplacedGoesBeforeItsDevice) {
  const std::weak_ptr<Device> watched = device;
  const auto other = open_device("host");
  const bool shared = device == other;
  Staging staging = device->staging(1000);
  device.reset();
  staging = other->staging(10);
  EXPECT_EQ(watched.expired(), !shared);
}

TEST_P(Conformance, AnUploadThatIsReplacedGoesBeforeItsDevice) {
  const std::weak_ptr<Device> watched = device;
  const auto data = numbered(1000);
  Upload upload;
  {
    Buffer buffer = device->allocate(1000);
    upload = device->upload(buffer, 0, data);
  }
  device.reset();
  upload = Upload();
  EXPECT_TRUE(watched.expired());
}

TEST_P(Conformance, BuffersMoveBetweenVariables) {
  const auto data = numbered(100);
  Buffer a = device->allocate(100);
  device->upload(a, 0, data).wait();
  Buffer b = std::move(a);
  EXPECT_EQ(a.bytes(), 0U);  // NOLINT(bugprone-use-after-move)
  a = device->allocate(50);
  std::swap(a, b);
  EXPECT_EQ(contents(*device, a), data);
  EXPECT_EQ(b.bytes(), 50U);
}

INSTANTIATE_TEST_SUITE_P(On, Conformance, testing::Values("host", "counting", "opencl", "fake_cuda", "cuda"),
                         [](const auto& which) { return std::string(which.param); });

}  // namespace
}  // namespace headrace::test
