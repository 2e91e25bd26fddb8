// Memory of the device that units leave to each other.
#include "residency/spares.hpp"

#include "residency/a_model.hpp"
#include "support/counting_device.hpp"
#include "support/error_of.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <thread>
#include <vector>

namespace headrace {
namespace {

using residency::Form;
using residency::Spares;
using test::CountingDevice;

struct SparesTest : testing::Test {
  const std::shared_ptr<CountingDevice> device = std::make_shared<CountingDevice>(open_device("host"));

  static Form form(Spares& spares, std::initializer_list<std::uint64_t> sizes) {
    Form made;
    for (const std::uint64_t size : sizes) made.push_back({.name = "w", .shape = {}, .buffer = spares.allocate(size)});
    return made;
  }
  static void keep(Spares& spares, Form form) {
    std::vector<Form> forms;
    forms.push_back(std::move(form));
    spares.keep(std::move(forms));
  }
  static void free(Spares& spares, Form form) {
    std::vector<Form> forms;
    forms.push_back(std::move(form));
    spares.free(std::move(forms));
  }
};

TEST_F(SparesTest, WhatMadeWayIsUsedAgain) {
  Spares spares(device, 1000, {});
  keep(spares, form(spares, {300, 20, 0}));
  EXPECT_EQ(device->counts().bytes, 320U);
  const Form next = form(spares, {20, 300, 0});
  EXPECT_EQ(device->counts().freed, 0U);
  EXPECT_EQ(device->counts().bytes, 320U);
  EXPECT_EQ(spares.given(), 640U);
}

TEST_F(SparesTest, WithinTheLimit) {
  Spares spares(device, 1000, {});
  Form stays = form(spares, {400});
  keep(spares, form(spares, {300, 300}));
  EXPECT_EQ(device->counts().bytes, 1000U);
  Form next = form(spares, {350});  // of another size: both have to go
  EXPECT_EQ(device->counts().bytes, 750U);
  EXPECT_LE(device->counts().high_water, 1000U);
  free(spares, std::move(next));
  free(spares, std::move(stays));
  spares.clear();
  EXPECT_EQ(device->counts().bytes, 0U);
}

TEST_F(SparesTest, NoMoreThanTwoUnitsOfThem) {
  Spares spares(device, {}, {});
  std::vector<Form> forms;
  for (int i = 0; i < 5; ++i) forms.push_back(form(spares, {100}));
  spares.keep(std::move(forms));
  EXPECT_EQ(device->counts().bytes, 200U);
}

TEST_F(SparesTest, WhereTheDeviceHasNoMemoryTheyGoFirst) {
  Spares spares(device, {}, {});
  device->limit(500);
  keep(spares, form(spares, {300}));
  EXPECT_EQ(spares.available(), 500U);
  const Form larger = form(spares, {400});
  EXPECT_EQ(device->counts().bytes, 400U);
  EXPECT_EQ(test::error_of([&] { (void)spares.allocate(200); }).code(), ErrorCode::no_space);
}

TEST_F(SparesTest, NoneTakesWhatOthersWantLeftFree) {
  Spares spares(device, {}, 200);
  device->limit(1000);
  keep(spares, form(spares, {300}));
  Form next = form(spares, {450});  // 250 would be left, with the spare
  EXPECT_EQ(device->counts().bytes, 750U);
  keep(spares, form(spares, {150}));  // it was allocated at the spare's expense
  EXPECT_EQ(device->counts().bytes, 600U);
  keep(spares, std::move(next));
  Form large = form(spares, {700});
  EXPECT_EQ(device->counts().bytes, 700U);
  keep(spares, std::move(large));
  spares.clear(true);
  keep(spares, form(spares, {100}));  // nobody comes any more
  EXPECT_EQ(device->counts().bytes, 0U);
}

TEST_F(SparesTest, PassesAllocateNothingNew) {
  const test::AModel model(12);
  const std::uint64_t limit = 4 * model.unit_bytes;
  {
    Residency residency(device, {.limit = limit});
    const ModelId id = residency.add("model", model.map, model.specs);
    residency.onload(id);
    std::size_t allocated = 0;
    for (int pass = 0; pass < 12; ++pass) {
      if (pass == 4) allocated = device->counts().allocated;
      for (const UnitSpec& unit : model.specs) {
        const Lease lease = residency.lease({residency.unit(id, unit.name)});
        const auto bytes = lease.tensor(unit.name + ".weight").host_bytes();
        EXPECT_TRUE(std::ranges::equal(bytes, model.bytes.at(unit.name + ".weight")));
      }
    }
    EXPECT_LE(device->counts().allocated, allocated + 3 * 12);  // of 8 passes, and some 300 evictions of tensors
    EXPECT_GT(residency.stats().evictions, 60U);
    EXPECT_LE(device->counts().high_water, limit);
    residency.offload(id);
    EXPECT_EQ(device->counts().bytes, 0U);
  }
  EXPECT_EQ(device->counts().buffers, 0U);
}

TEST_F(SparesTest, ManyThreads) {
  Spares spares(device, 4000, {});
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < 300; ++i) {
        Form made = form(spares, {100 * (1 + (i + t) % 5), 300});
        i % 3 == 0 ? free(spares, std::move(made)) : keep(spares, std::move(made));
      }
    });
  }
  threads.clear();
  EXPECT_LE(device->counts().high_water, 4000U);
  spares.clear();
  EXPECT_EQ(device->counts().bytes, 0U);
}

}  // namespace
}  // namespace headrace
