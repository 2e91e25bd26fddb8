// The counting device that other tests trust: that it counts, and that it fails when told to.
#include "device/support.hpp"

namespace headrace::test {
namespace {

TEST(CountingDevice, CountsWhatIsAllocatedAndFreed) {
  const auto device = std::make_shared<CountingDevice>(open_device("host"));
  {
    const Buffer a = device->allocate(100);
    { const Buffer b = device->allocate(50); }
    const Buffer c = device->allocate(20);
    const Buffer wrapped = device->wrap(a.handle(), 100);
    const Staging staging = device->staging(7);
    const auto counts = device->counts();
    EXPECT_EQ(counts.buffers, 2U);
    EXPECT_EQ(counts.bytes, 120U);
    EXPECT_EQ(counts.high_water, 150U);
    EXPECT_EQ(counts.allocated, 3U);
    EXPECT_EQ(counts.freed, 1U);
    EXPECT_EQ(counts.wrapped, 1U);
    EXPECT_EQ(counts.staging_bytes, 7U);
  }
  const auto counts = device->counts();
  EXPECT_EQ(counts.buffers, 0U);
  EXPECT_EQ(counts.bytes, 0U);
  EXPECT_EQ(counts.freed, 3U);
  EXPECT_EQ(counts.staging, 0U);
}

TEST(CountingDevice, CountsUploads) {
  const auto device = std::make_shared<CountingDevice>(open_device("host"));
  const auto data = numbered(100);
  Buffer buffer = device->allocate(100);
  {
    const Upload a = device->upload(buffer, 0, data);
    const Upload b = device->upload(buffer, 10, std::span(data).first(5));
    EXPECT_EQ(device->counts().in_flight, 2U);
  }
  EXPECT_EQ(device->counts().in_flight, 0U);
  EXPECT_EQ(device->counts().uploads, 2U);
  EXPECT_EQ(device->counts().uploaded, 105U);
}

TEST(CountingDevice, FailsWhenToldTo) {
  const auto device = std::make_shared<CountingDevice>(open_device("host"));
  device->fail_allocation(2);
  Buffer buffer = device->allocate(10);
  EXPECT_EQ(code_of([&] { (void)device->allocate(10); }), ErrorCode::no_space);
  EXPECT_EQ(device->allocate(10).bytes(), 10U);
  device->fail_upload(1);
  const auto data = numbered(10);
  EXPECT_EQ(code_of([&] { (void)device->upload(buffer, 0, data); }), ErrorCode::io);
  device->upload(buffer, 0, data).wait();
  device->limit(30);
  EXPECT_EQ(device->memory().free, 20U);
  EXPECT_EQ(code_of([&] { (void)device->allocate(21); }), ErrorCode::no_space);
  EXPECT_EQ(device->allocate(20).bytes(), 20U);
}

}  // namespace
}  // namespace headrace::test
