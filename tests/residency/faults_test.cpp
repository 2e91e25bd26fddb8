// Bad days: files that change, devices that have no memory, exceptions while a lease is held. Whatever happens, the
// caller is told, nothing is leaked, and the manager is as good as before.
#include "residency/a_model.hpp"

#include <chrono>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace headrace {
namespace {

using namespace std::chrono_literals;
using test::AModel;
using test::error_of;
using test::expect_unit;
using test::remote;

void pass_over(Residency& residency, const AModel& model, ModelId id) {
  for (std::uint32_t unit = 0; unit < model.specs.size(); ++unit)
    expect_unit(model, residency.lease({{id, unit}}), {id, unit}, {});
}

struct ResidencyFaults : testing::Test {
  AModel model{8, 2000};  // half a megabyte each
  std::uint64_t limit = 3 * model.unit_bytes;
  std::shared_ptr<test::CountingDevice> device = remote(limit);

  void TearDown() override {
    EXPECT_EQ(device->counts().buffers, 0U);
    EXPECT_EQ(device->counts().staging, 0U);
    EXPECT_EQ(device->counts().in_flight, 0U);
    EXPECT_LE(device->counts().high_water, limit);
  }
};

TEST_F(ResidencyFaults, ATruncatedFileIsAnErrorOfTheUnitsThatNeedIt) {
  Residency residency(device, {.limit = limit});
  const ModelId id = residency.add("m", model.map, model.specs);
  residency.onload(id);
  pass_over(residency, model, id);
  const std::uint64_t offset = model.map->find("blocks.5.weight")->offset;
  std::filesystem::resize_file(model.file, offset + 1000);
  const Error error = error_of([&] { pass_over(residency, model, id); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_EQ(error.detail().file, model.file);
  EXPECT_TRUE(error.detail().tensor.starts_with("blocks.")) << error.what();
  const Error same = error_of([&] { residency.lease({{id, 5}}); });
  EXPECT_EQ(same.code(), ErrorCode::io);
  EXPECT_EQ(same.detail().tensor, "blocks.5.weight");
  EXPECT_TRUE(same.detail().offset) << same.what();
  EXPECT_LE(residency.stats().device_bytes, limit);
}

TEST_F(ResidencyFaults, AFileThatIsWrittenToIsNoticed) {
  Residency residency(device, {.limit = limit});
  const ModelId id = residency.add("m", model.map, model.specs);
  std::this_thread::sleep_for(20ms);  // file systems' clocks are coarse
  {
    std::fstream file(model.file, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('x');
  }
  const Error error = error_of([&] { residency.lease({{id, 2}}); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_EQ(error.problem(), "the file was written to after it had been opened");
  EXPECT_TRUE(error.detail().tensor.starts_with("blocks.2.")) << error.what();
}

TEST_F(ResidencyFaults, AFileThatIsReplacedIsStillReadAsItWas) {
  Residency residency(device, {.limit = limit});
  const ModelId id = residency.add("m", model.map, model.specs);
  residency.onload(id);
  const AModel other(8, 2000, 2);
  std::filesystem::rename(other.file, model.file);
  pass_over(residency, model, id);
}

TEST_F(ResidencyFaults, AnUploadThatFailsAheadOfUseIsTriedAgain) {
  Residency residency(device, {.limit = limit});
  const ModelId id = residency.add("m", model.map, model.specs);
  residency.onload(id);
  device->fail_upload(1);
  residency.hint(std::vector<UnitRef>{{id, 3}});
  for (int i = 0; i < 5000 && residency.stats().prefetch_failed == 0; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(residency.stats().prefetch_failed, 1U);
  EXPECT_EQ(residency.stats().device_bytes, 0U);
  pass_over(residency, model, id);  // it was for once
  EXPECT_EQ(residency.stats().leases, 8U);
}

TEST_F(ResidencyFaults, AReadThatFailsAheadOfUseIsToldToTheLeaseThatNeedsIt) {
  Residency residency(device, {.limit = limit});
  const ModelId id = residency.add("m", model.map, model.specs);
  residency.onload(id);
  std::filesystem::resize_file(model.file, 10);
  residency.hint(std::vector<UnitRef>{{id, 3}});
  for (int i = 0; i < 5000 && residency.stats().prefetch_failed == 0; ++i) std::this_thread::sleep_for(1ms);
  const Error error = error_of([&] { residency.lease({{id, 3}}); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_EQ(error.detail().tensor, "blocks.3.weight");
  EXPECT_EQ(residency.stats().leases, 1U);  // it was given its room, and gave it back
  EXPECT_EQ(residency.stats().device_bytes, 0U);
}

TEST_F(ResidencyFaults, ADeviceWithoutMemoryIsSaidAndForgotten) {
  for (const unsigned threads : {0U, 2U}) {
    Residency residency(device, {.limit = limit, .threads = threads});
    const ModelId id = residency.add("m", model.map, model.specs);
    if (threads == 0) device->fail_allocation(2);
    if (threads != 0) device->limit(model.unit_bytes + 1000);  // fetchers help, so once isn't enough
    const Error error = error_of([&] { residency.lease({{id, 0}, {id, 1}}); });
    device->limit(limit);
    EXPECT_EQ(error.code(), ErrorCode::no_space);
    EXPECT_TRUE(error.detail().tensor.starts_with("blocks.")) << error.what();
    // A fetcher that was helping ends soon.
    for (int i = 0; i < 5000 && residency.stats().device_bytes != 0; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(device->counts().bytes, 0U);
    pass_over(residency, model, id);
  }
}

TEST_F(ResidencyFaults, WhatIsntLeasedGoesWhenTheDeviceHasLessThanWasThought) {
  Residency residency(device, {.limit = 6 * model.unit_bytes, .threads = 0});  // twice what there is
  const ModelId id = residency.add("m", model.map, model.specs);
  residency.onload(id);
  pass_over(residency, model, id);
  pass_over(residency, model, id);
  EXPECT_EQ(error_of([&] { residency.lease({{id, 0}, {id, 1}, {id, 2}, {id, 3}}); }).code(), ErrorCode::no_space);
  pass_over(residency, model, id);
}

TEST_F(ResidencyFaults, AnExceptionWhileALeaseIsHeldGivesItBack) {
  Residency residency(device, {.limit = limit});
  const ModelId id = residency.add("m", model.map, model.specs);
  try {
    const Lease lease = residency.lease({{id, 0}, {id, 1}, {id, 2}});
    throw std::runtime_error("of the caller's");
  } catch (const std::runtime_error&) {
    // As a program would.
  }
  EXPECT_EQ(device->counts().bytes, 0U);
  pass_over(residency, model, id);
}

TEST_F(ResidencyFaults, NumbersThatDontFitNameTheirTensor) {
  const std::vector<float> large(64 * 512, 1000.0F);  // F8_E4M3 ends at 448
  const auto bytes = std::as_bytes(std::span(large));
  const test::TestTensor tensor{{"w", DType::F32, {512, 64}}, {bytes.begin(), bytes.end()}};
  test::save(model.folder / "large.safetensors", {tensor});
  const auto map = std::make_shared<const DiskMap>((model.folder / "large.safetensors").string());
  const UnitStates states{.onload = {Place::disk, DType::F8_E4M3}, .computation = {Place::device, DType::BF16}};
  Residency residency(device, {.limit = limit, .memory = 256 << 10});
  const UnitRef unit{residency.add("m", map, {{"u", {"w"}, states}}), 0};
  const Error error = error_of([&] { residency.lease({unit}); });
  EXPECT_EQ(error.code(), ErrorCode::value);
  EXPECT_EQ(error.detail().tensor, "w");
  EXPECT_EQ(device->counts().bytes, 0U);
}

TEST_F(ResidencyFaults, ACancelledReadGivesItsRoomBack) {
  Residency residency(device, {.limit = limit, .threads = 0});
  const ModelId id = residency.add("m", model.map, model.specs);
  const CancelToken cancel;
  cancel.cancel();
  EXPECT_EQ(error_of([&] { residency.lease({{id, 0}}, {}, cancel); }).code(), ErrorCode::cancelled);
  pass_over(residency, model, id);
}

TEST_F(ResidencyFaults, AManagerThatGoesEndsWhatWaitsAndWhatIsFetched) {
  auto residency = std::make_unique<Residency>(device, ResidencyOptions{.limit = limit});
  const ModelId id = residency->add("m", model.map, model.specs);
  residency->onload(id);
  Lease held = residency->lease({{id, 0}, {id, 1}, {id, 2}});
  std::thread waiting([&] {
    const Error error = error_of([&] { residency->lease({{id, 7}}); });
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
  });
  std::this_thread::sleep_for(100ms);  // it is in line by then
  std::vector<UnitRef> order;
  for (std::uint32_t unit = 0; unit < 8; ++unit) order.push_back({id, unit});
  residency->hint(order);
  residency.reset();
  waiting.join();
  EXPECT_EQ(device->counts().bytes, limit);
  held.release();
  EXPECT_EQ(device->counts().bytes, 0U);
}

}  // namespace
}  // namespace headrace
