// CUDA, on a driver that fails when told to and sees what is left behind.
#include "device/cuda/api.hpp"
#include "device/fake_cuda.hpp"
#include "device/support.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace headrace::test {
namespace {

constexpr int kOutOfMemory = 2, kNoDevice = 100, kLaunchFailed = 719;

class Cuda : public testing::Test {
 protected:
  void TearDown() override {
    fake.fail("", 0, 0);
    device.reset();
    for (const char* what : {"memory", "pinned", "streams", "events", "contexts"})
      EXPECT_EQ(fake.count(what), 0) << what;
    EXPECT_EQ(fake.count("violations"), violations) << "wrong calls";
  }

  const FakeCuda& fake = FakeCuda::instance();
  const long violations = fake.count("violations");
  std::shared_ptr<Device> device = fake.open();
};

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST_F(Cuda, UploadsAreAsynchronous) {
  Buffer buffer = device->allocate(1000);
  const Staging staging = device->staging(1000);
  const auto data = numbered(1000);
  std::ranges::copy(data, staging.bytes().begin());
  const Upload upload = device->upload(buffer, 0, staging.bytes());
  EXPECT_EQ(fake.count("pending"), 2);  // the copy and its mark
  EXPECT_FALSE(upload.done());
  upload.wait();
  EXPECT_EQ(fake.count("pending"), 0);
  EXPECT_EQ(contents(*device, buffer), data);
}

TEST_F(Cuda, ASourceThatIsUsedAgainTooSoonIsSeen) {  // or the other tests would prove nothing
  Buffer buffer = device->allocate(1000);
  auto source = numbered(1000);
  const auto data = source;
  const Upload upload = device->upload(buffer, 0, source);
  std::ranges::fill(source, std::byte{0});
  EXPECT_NE(contents(*device, buffer), data);
}

TEST_F(Cuda, SaysHowMuchIsFree) {
  const DeviceMemory before = device->memory();
  EXPECT_EQ(before.total, std::uint64_t{256} << 20);
  EXPECT_EQ(before.free, before.total);
  const Buffer buffer = device->allocate(1 << 20);
  EXPECT_EQ(device->memory().free, before.total - (1 << 20));
}

TEST_F(Cuda, OutOfMemorySaysHowMuchThereWas) {
  const Buffer most = device->allocate(std::size_t{200} << 20);
  EXPECT_EQ(message_of([&] { (void)device->allocate(std::size_t{100} << 20); }),
            "cuda:0: not enough memory (expected 104857600 bytes, found 58720256 bytes free)");
  EXPECT_EQ(device->allocate(std::size_t{50} << 20).bytes(), std::size_t{50} << 20);
  fake.fail("cuMemHostAlloc", 1, kOutOfMemory);
  EXPECT_EQ(code_of([&] { (void)device->staging(1000); }), ErrorCode::no_space);
}

TEST_F(Cuda, EveryFailedCallIsNamed) {
  Buffer buffer = device->allocate(100);
  const auto data = numbered(100);
  std::vector<std::byte> out(100);
  const auto upload = [&] { device->upload(buffer, 0, data).wait(); };
  const auto download = [&] { device->download(buffer, 0, out); };
  const std::vector<std::pair<const char*, std::function<void()>>> calls{
      {"cuMemAlloc_v2", [&] { (void)device->allocate(10); }},
      {"cuMemHostAlloc", [&] { (void)device->staging(10); }},
      {"cuMemGetInfo_v2", [&] { (void)device->memory(); }},
      {"cuCtxPushCurrent_v2", [&] { (void)device->memory(); }},
      {"cuEventCreate", upload},
      {"cuMemcpyHtoDAsync_v2", upload},
      {"cuEventRecord", upload},
      {"cuMemcpyDtoHAsync_v2", download},
      {"cuStreamSynchronize", download},
      {"cuStreamSynchronize", [&] { device->synchronize(); }},
      {"cuDevicePrimaryCtxRetain", [&] { (void)fake.open(1); }},
      {"cuStreamCreate", [&] { (void)fake.open(1); }},
  };
  for (const auto& [call, body] : calls) {
    fake.fail(call, 1, kLaunchFailed);
    const std::string message = message_of(body);
    const std::string name = std::string(call).substr(0, std::string(call).find('_'));
    EXPECT_NE(message.find(name + " failed: CUDA_ERROR_LAUNCH_FAILED (719)"), std::string::npos) << message;
    upload();
    EXPECT_EQ(fake.count("pending"), 0) << call;
    EXPECT_EQ(contents(*device, buffer), data) << call;
  }
}

TEST_F(Cuda, AnUploadWhoseMarkFailsHasLetGoOfItsSource) {
  Buffer buffer = device->allocate(100);
  const auto data = numbered(100);
  fake.fail("cuEventRecord", 1, kLaunchFailed);
  EXPECT_EQ(code_of([&] { (void)device->upload(buffer, 0, data); }), ErrorCode::io);
  EXPECT_EQ(fake.count("pending"), 0);
}

TEST_F(Cuda, ACopyThatFailsLaterIsItsUploadsError) {
  Buffer buffer = device->allocate(100);
  const auto data = numbered(100);
  fake.fail("copy", 2, kLaunchFailed);
  const Upload good = device->upload(buffer, 0, data);
  const Upload bad = device->upload(buffer, 0, data);
  const Upload after = device->upload(buffer, 0, data);
  EXPECT_EQ(code_of([&] { bad.wait(); }), ErrorCode::io);
  EXPECT_EQ(code_of([&] { (void)bad.done(); }), ErrorCode::io);
  EXPECT_TRUE(good.done());
  after.wait();
  {
    fake.fail("copy", 1, kLaunchFailed);
    const Upload dropped = device->upload(buffer, 0, data);  // quietly
  }
  EXPECT_EQ(fake.count("pending"), 0);
}

TEST_F(Cuda, DevicesDoNotMix) {
  const auto second = fake.open(1);
  Buffer one = device->allocate(100);
  Buffer two = second->allocate(100);
  const auto data = numbered(100), more = numbered(100, 2);
  const Upload first = device->upload(one, 0, data);
  const Upload other = second->upload(two, 0, more);
  EXPECT_EQ(contents(*device, one), data);
  EXPECT_EQ(contents(*second, two), more);
  EXPECT_EQ(code_of([&] { (void)device->upload(two, 0, data); }), ErrorCode::invalid_argument);
}

TEST_F(Cuda, LeavesTheThreadsContextAsItWas) {
  const device::cuda::Api api(HEADRACE_FAKE_CUDA);
  device::cuda::CUcontext theirs = nullptr, popped = nullptr;
  ASSERT_EQ(api.primary_context_retain(&theirs, 1), 0);
  ASSERT_EQ(api.context_push(theirs), 0);
  {
    Buffer buffer = device->allocate(100);
    const Staging staging = device->staging(100);
    const Upload upload = device->upload(buffer, 0, staging.bytes());
    fake.fail("cuMemAlloc_v2", 1, kLaunchFailed);
    EXPECT_EQ(code_of([&] { (void)device->allocate(1); }), ErrorCode::io);
  }
  EXPECT_EQ(api.context_pop(&popped), 0);
  EXPECT_EQ(popped, theirs);
  EXPECT_EQ(api.primary_context_release(1), 0);
}

TEST_F(Cuda, RefusesToWrapWhatIsNotItsOwn) {
  const auto second = fake.open(1);
  const Buffer other = second->allocate(100);
  EXPECT_EQ(message_of([&] { (void)device->wrap(other.handle(), 100); }),
            "cuda:0: memory to wrap is on another device (found cuda:1)");
  std::vector<std::byte> host(100);
  const auto at = reinterpret_cast<std::uintptr_t>(host.data());
  EXPECT_EQ(message_of([&] { (void)device->wrap(at, 100); }), "cuda:0: memory to wrap isn't CUDA's");
  const Buffer own = device->allocate(100);
  EXPECT_EQ(code_of([&] { (void)device->wrap(own.handle(), 1 << 20); }), ErrorCode::invalid_argument);
}

TEST_F(Cuda, WrapsManagedMemoryOfDLPack) {
  const Buffer own = device->allocate(100);
  const void* at = reinterpret_cast<const void*>(own.handle());
  EXPECT_EQ(device->wrap({.type = 13, .id = 0}, at, 10, 90).handle(), own.handle() + 10);
  EXPECT_EQ(message_of([&] { (void)device->wrap({.type = 2, .id = 1}, at, 0, 100); }),
            "cuda:0: the tensor isn't on this device (expected DLPack device type 2, id 0, found DLPack device type 2, "
            "id 1)");
}

TEST(CudaDriver, SaysWhatItHas) {
  const device::Driver& driver = FakeCuda::instance().driver();
  ASSERT_EQ(driver.count(), 2U);
  EXPECT_TRUE(driver.problem().empty());
  const DeviceInfo info = driver.info(1);
  EXPECT_EQ(info.name, "cuda:1");
  EXPECT_EQ(info.description, "Fake GPU 1");
  EXPECT_EQ(info.memory.free, info.memory.total);
  EXPECT_EQ(FakeCuda::instance().count("contexts"), 0);
}

TEST(CudaDriver, ListsADeviceThatCannotBeOpened) {
  FakeCuda::instance().fail("cuDevicePrimaryCtxRetain", 1, kOutOfMemory);
  const DeviceInfo info = FakeCuda::instance().driver().info(0);
  EXPECT_EQ(info.memory.total, std::uint64_t{256} << 20);
  EXPECT_FALSE(info.memory.free);
}

TEST(CudaDriver, SaysWhyThereIsNone) {
  const auto absent = device::cuda::make_driver("/absent/libcuda.so.1");
  EXPECT_EQ(absent->count(), 0U);
  EXPECT_TRUE(absent->problem().starts_with("can't load /absent/libcuda.so.1")) << absent->problem();
  const auto other = device::cuda::make_driver("libc.so.6");
  EXPECT_EQ(other->count(), 0U);
  EXPECT_EQ(other->problem(), "libc.so.6 has no cuInit");
  FakeCuda::instance().fail("cuInit", 1, kNoDevice);
  const auto without = device::cuda::make_driver(HEADRACE_FAKE_CUDA);
  EXPECT_EQ(without->count(), 0U);
  EXPECT_EQ(without->problem(), "cuInit failed: CUDA_ERROR_NO_DEVICE (100)");
}

}  // namespace
}  // namespace headrace::test
