// OpenCL: memory of a program's own context, limits of the driver.
#include "device/opencl/api.hpp"
#include "device/support.hpp"

#include <algorithm>

namespace headrace::test {
namespace {

using namespace device::opencl;

constexpr cl_uint kContextReferenceCount = 0x1080;

class OpenCL : public testing::Test {
 protected:
  void SetUp() override {
    Candidate candidate = open_candidate("opencl");
    if (!candidate.device) GTEST_SKIP() << candidate.absent;
    device = std::move(candidate.device);
  }

  std::shared_ptr<Device> device;
};

// What a program has that uses OpenCL itself.
struct Program {
  Program() {
    cl_platform_id platform = nullptr;
    cl_device_id id = nullptr;
    cl_int result = kSuccess;
    EXPECT_EQ(api.get_platforms(1, &platform, nullptr), kSuccess);
    EXPECT_EQ(api.get_devices(platform, kDeviceTypeAll, 1, &id, nullptr), kSuccess);
    context = api.create_context(nullptr, 1, &id, nullptr, nullptr, &result);
    EXPECT_EQ(result, kSuccess);
    queue = api.create_queue(context, id, 0, &result);
    EXPECT_EQ(result, kSuccess);
    memory = api.create_buffer(context, kMemReadWrite, kBytes, nullptr, &result);
    EXPECT_EQ(result, kSuccess);
  }
  ~Program() {
    api.release_memory(memory);
    api.release_queue(queue);
    api.release_context(context);
  }

  cl_uint references() const {
    cl_uint count = 0;
    EXPECT_EQ(api.get_context_info(context, kContextReferenceCount, sizeof count, &count, nullptr), kSuccess);
    return count;
  }
  std::vector<std::byte> contents() const {
    std::vector<std::byte> bytes(kBytes);
    EXPECT_EQ(api.enqueue_read(queue, memory, 1, 0, kBytes, bytes.data(), 0, nullptr, nullptr), kSuccess);
    return bytes;
  }

  static constexpr std::size_t kBytes = 100'000;
  Api api;
  cl_context context = nullptr;
  cl_command_queue queue = nullptr;
  cl_mem memory = nullptr;
};

TEST_F(OpenCL, UploadsToMemoryOfAProgramsOwnContext) {
  const Program program;
  const auto handle = reinterpret_cast<std::uintptr_t>(program.memory);
  const auto data = numbered(Program::kBytes);
  {
    Buffer whole = device->wrap(handle, Program::kBytes);
    Buffer end = device->wrap(handle, 1000, Program::kBytes - 1000);
    EXPECT_EQ(end.offset(), Program::kBytes - 1000);
    device->upload(whole, 0, std::span(data).first(99'000)).wait();
    const Upload upload = device->upload(end, 0, std::span(data).last(1000));
    device->synchronize();
    EXPECT_TRUE(upload.done());
    EXPECT_EQ(program.contents(), data);
    EXPECT_EQ(contents(*device, whole), data);
  }
  EXPECT_EQ(program.contents(), data);
}

TEST_F(OpenCL, GivesAProgramsContextBack) {
  const Program program;
  const auto data = numbered(1000);
  const auto use = [&] {
    Buffer buffer = device->wrap(reinterpret_cast<std::uintptr_t>(program.memory), 1000);
    device->upload(buffer, 0, data).wait();
  };
  use();
  const cl_uint once = program.references();  // PoCL itself keeps one of a queue that has gone
  for (int i = 0; i < 5; ++i) use();
  EXPECT_EQ(program.references(), once);
}

TEST_F(OpenCL, ABufferKeepsTheMemoryThatItWraps) {
  const auto data = numbered(Program::kBytes);
  Buffer buffer;
  {
    const Program program;
    buffer = device->wrap(reinterpret_cast<std::uintptr_t>(program.memory), Program::kBytes);
  }
  device->upload(buffer, 0, data).wait();
  EXPECT_EQ(contents(*device, buffer), data);
}

TEST_F(OpenCL, RefusesToWrapMoreThanThereIs) {
  const Program program;
  const auto handle = reinterpret_cast<std::uintptr_t>(program.memory);
  EXPECT_EQ(code_of([&] { (void)device->wrap(handle, Program::kBytes + 1); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { (void)device->wrap(handle, 1, Program::kBytes); }), ErrorCode::invalid_argument);
}

TEST_F(OpenCL, NamesTheDriversLimit) {
  const std::uint64_t largest = device->memory().largest;
  try {
    (void)device->allocate(largest + 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::no_space);
    EXPECT_EQ(error.detail().expected, "at most " + std::to_string(largest) + " bytes (CL_DEVICE_MAX_MEM_ALLOC_SIZE)");
  }
}

TEST_F(OpenCL, StagingBeginsAtAPage) {
  for (const std::size_t bytes : {1U, 4096U, 10'000U}) {
    const Staging staging = device->staging(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(staging.bytes().data()) % 4096, 0U);
    std::ranges::fill(staging.bytes(), std::byte{1});
  }
}

}  // namespace
}  // namespace headrace::test
