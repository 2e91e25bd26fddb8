// Devices by name.
#include "device/support.hpp"

#include <algorithm>

namespace headrace::test {
namespace {

TEST(Devices, TheHostIsAlwaysThereAndFirst) {
  const auto devices = list_devices();
  ASSERT_FALSE(devices.empty());
  EXPECT_EQ(devices[0].name, "host");
  EXPECT_EQ(devices[0].kind, DeviceKind::host);
  EXPECT_GT(devices[0].memory.total, 0U);
  EXPECT_EQ(open_device("host")->description(), devices[0].description);
}

TEST(Devices, AllThatAreListedOpenByTheirNames) {
  for (const DeviceInfo& info : list_devices()) {
    const auto device = open_device(info.name);
    EXPECT_EQ(device->name(), info.name);
    EXPECT_EQ(device->kind(), info.kind);
    EXPECT_EQ(device->description(), info.description);
    EXPECT_EQ(device->memory().total, info.memory.total);
    EXPECT_EQ(device->memory().largest, info.memory.largest);
  }
}

TEST(Devices, WhoNamesTheSameDeviceSharesIt) {
  const auto device = open_device("host");
  EXPECT_EQ(open_device("cpu"), device);
  EXPECT_EQ(open_device("host"), device);
}

TEST(Devices, UnknownNamesAreRefusedWithAListOfTheKnown) {
  for (const char* name : {"", "gpu", "Host", "host:0", "cpu:0", ":0"}) {
    try {
      (void)open_device(name);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << name;
      EXPECT_TRUE(error.detail().expected.starts_with("host")) << error.what();
    }
  }
}

}  // namespace
}  // namespace headrace::test
