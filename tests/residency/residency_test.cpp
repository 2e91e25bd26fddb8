// Units on a device under a limit: what a lease gives, what stays, what goes.
#include "residency/a_model.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>
#include <thread>

namespace headrace {
namespace {

using namespace std::chrono_literals;
using test::AModel;
using test::error_of;
using test::expect_unit;
using test::remote;

constexpr UnitStates kFromDisk = {};
constexpr UnitStates kThroughF8 = {.offload = {},
                                   .onload = {Place::host, DType::F8_E4M3},
                                   .preparing = {Place::device, {}},
                                   .computation = {Place::device, DType::BF16}};

void wait_until(auto&& condition) {
  for (int i = 0; i < 10'000 && !condition(); ++i) std::this_thread::sleep_for(1ms);
  ASSERT_TRUE(condition());
}

// `passes` times all units, in an order that may differ each time.
void run_passes(Residency& residency, const AModel& model, ModelId id, int passes, bool shuffled,
                const std::vector<DType>& through) {
  std::vector<std::uint32_t> order(model.specs.size());
  std::iota(order.begin(), order.end(), 0U);
  std::mt19937 random(7);
  for (int pass = 0; pass < passes; ++pass) {
    if (shuffled) std::ranges::shuffle(order, random);
    for (const std::uint32_t unit : order) {
      const Lease lease = residency.lease({{id, unit}});
      if (pass % 10 == 0 || pass == passes - 1) expect_unit(model, lease, {id, unit}, through);
    }
  }
}

struct Limits : testing::TestWithParam<std::tuple<double, bool>> {};

TEST_P(Limits, AreKeptThroughFiftyPasses) {
  const auto [share, shuffled] = GetParam();
  const AModel model(16);
  const auto limit = std::max(model.unit_bytes, static_cast<std::uint64_t>(share * 16 * double(model.unit_bytes)));
  const auto device = remote(limit);  // any excess is an error
  {
    Residency residency(device, {.limit = limit});
    const ModelId id = residency.add("m", model.map, model.with(kFromDisk));
    residency.onload(id);
    run_passes(residency, model, id, 50, shuffled, {});
    EXPECT_LE(device->counts().high_water, limit);
    const ResidencyStats stats = residency.stats();
    EXPECT_LE(stats.peak_device_bytes, limit);
    EXPECT_EQ(stats.units, 800U);
    EXPECT_EQ(stats.prefetch_failed, 0U);
    if (share == 1.0) {
      EXPECT_EQ(stats.bytes_read, 16 * model.unit_bytes);  // once, for good
    }
  }
  EXPECT_EQ(device->counts().buffers, 0U);
  EXPECT_EQ(device->counts().bytes, 0U);
  EXPECT_EQ(device->counts().staging, 0U);
}

INSTANTIATE_TEST_SUITE_P(ResidencyTest, Limits,
                         testing::Combine(testing::Values(1.0, 0.5, 0.25, 0.0), testing::Bool()));

TEST(ResidencyTest, ComputationSeesTheSameBytesWhateverWasHeld) {
  const AModel model(8);
  for (const std::uint64_t limit : {3000UL, 6000UL, 9000UL, 40'000UL}) {
    for (const std::uint64_t host_limit : {0UL, 5000UL, 1'000'000UL}) {
      const auto device = remote(std::max(limit, 4300UL));
      Residency residency(device, {.limit = std::max(limit, 4300UL), .host_limit = host_limit});
      const ModelId id = residency.add("m", model.map, model.with(kThroughF8));
      EXPECT_EQ(residency.bytes({id, 0}), (32 * 64 + 64) * 2 + 16U);
      run_passes(residency, model, id, 1, false, {DType::F8_E4M3, DType::BF16});  // offloaded
      residency.onload(id);
      run_passes(residency, model, id, 6, false, {DType::F8_E4M3, DType::BF16});
      EXPECT_LE(residency.stats().peak_host_bytes, host_limit);
      residency.offload(id);
      EXPECT_EQ(residency.stats().device_bytes, 0U);
      EXPECT_EQ(residency.stats().host_bytes, 0U);
      EXPECT_EQ(device->counts().bytes, 0U);
    }
  }
}

TEST(ResidencyTest, EveryChainOfTypesIsGoneThrough) {
  const AModel model(4, 300);  // several pieces in the smallest staging memory
  const std::vector<std::vector<std::optional<DType>>> chains{
      {DType::BF16, DType::F8_E4M3, DType::F16, DType::F32},
      {{}, {}, {}, DType::BF16},
      {{}, DType::F8_E5M2, DType::BF16, DType::BF16},
      {DType::Q8_0, {}, {}, DType::F16},
      {{}, {}, DType::F16, {}},
  };
  const std::vector<std::vector<Place>> places{
      {Place::disk, Place::disk, Place::disk},     {Place::disk, Place::disk, Place::device},
      {Place::disk, Place::host, Place::host},     {Place::host, Place::host, Place::device},
      {Place::host, Place::device, Place::device}, {Place::device, Place::device, Place::device}};
  for (const auto& chain : chains) {
    std::vector<DType> through;
    for (const auto& dtype : chain) {
      if (dtype && (through.empty() || through.back() != *dtype)) through.push_back(*dtype);
    }
    for (const auto& place : places) {
      for (const bool seen : {false, true}) {  // by the processor
        const auto device = seen ? std::make_shared<test::CountingDevice>(open_device("host")) : remote();
        Residency residency(device, {.limit = 200'000, .memory = 256 << 10});
        const UnitStates states{.offload = {place[0], chain[0]},
                                .onload = {place[1], chain[1]},
                                .preparing = {place[2], chain[2]},
                                .computation = {Place::device, chain[3]}};
        const ModelId id = residency.add("m", model.map, model.with(states));
        residency.onload(id);
        run_passes(residency, model, id, 3, false, through);
        EXPECT_LE(device->counts().high_water, 200'000U);
      }
    }
  }
}

// Passes over twelve units, each computed with for a while.
ResidencyStats after_passes(std::uint64_t units_on_device, int passes) {
  const AModel model(12);
  Residency residency(remote(), {.limit = units_on_device * model.unit_bytes});
  const ModelId id = residency.add("m", model.map, model.specs);
  residency.onload(id);
  for (int pass = 0; pass < passes; ++pass) {
    for (std::uint32_t unit = 0; unit < 12; ++unit) {
      const Lease lease = residency.lease({{id, unit}});
      std::this_thread::sleep_for(5ms);
    }
  }
  ResidencyStats stats = residency.stats();
  stats.bytes_read /= model.unit_bytes;
  return stats;
}

TEST(ResidencyTest, TheSecondPassIsFetchedAhead) {
  const ResidencyStats stats = after_passes(4, 4);
  EXPECT_GE(stats.prefetch_used, 20U);
  EXPECT_GE(stats.hits, 28U);
  EXPECT_LE(stats.stalls, 20U);
  EXPECT_GT(stats.hit_rate(), 0.5);
}

TEST(ResidencyTest, WhatFitsStaysFromPassToPass) {
  // One is leased and two are ahead of it; five of the eight stay, so seven are read in each pass, and two after it.
  const ResidencyStats stats = after_passes(8, 5);
  EXPECT_GE(stats.bytes_read, 12U + 4 * 4);
  EXPECT_LE(stats.bytes_read, 12U + 4 * 8 + 2);
}

TEST(ResidencyTest, AHintIsFetchedBeforeTheFirstLease) {
  const AModel model(6);
  Residency residency(remote(), {.limit = 3 * model.unit_bytes});
  const ModelId id = residency.add("m", model.map, model.specs);
  residency.onload(id);
  residency.hint(std::vector<UnitRef>{{id, 4}, {id, 2}, {id, 5}});
  wait_until([&] { return residency.stats().bytes_read == 3 * model.unit_bytes; });
  wait_until([&] { return residency.stats().bytes_uploaded == 3 * model.unit_bytes; });
  std::this_thread::sleep_for(20ms);
  for (const std::uint32_t unit : {4U, 2U, 5U}) expect_unit(model, residency.lease({{id, unit}}), {id, unit}, {});
  EXPECT_EQ(residency.stats().hits, 3U);
  EXPECT_EQ(residency.stats().prefetch_used, 3U);
}

TEST(ResidencyTest, LimitZeroKeepsNothing) {
  const AModel model(4);
  const auto device = remote();
  Residency residency(device, {.limit = 0});
  const ModelId id = residency.add("m", model.map, model.specs);
  residency.onload(id);
  for (int pass = 0; pass < 3; ++pass) {
    for (std::uint32_t unit = 0; unit < 3; ++unit) {
      Lease lease = residency.lease({{id, unit}, {id, unit + 1}});
      EXPECT_EQ(device->counts().bytes, 2 * model.unit_bytes);
      expect_unit(model, lease, {id, unit + 1}, {});
      const Error error = error_of([&] { residency.lease({{id, 3}, {id, 0}}, 20ms); });
      EXPECT_EQ(error.code(), ErrorCode::cancelled);
      lease.release();
      EXPECT_EQ(device->counts().bytes, 0U);
    }
  }
  EXPECT_EQ(device->counts().high_water, 2 * model.unit_bytes);
}

TEST(ResidencyTest, AUnitLargerThanTheLimitIsRefusedByHowMuch) {
  const AModel model(3);
  Residency residency(remote(), {.limit = model.unit_bytes + 100});
  const ModelId id = residency.add("m", model.map, model.specs);
  const Error two = error_of([&] { residency.lease({{id, 0}, {id, 2}}); });
  EXPECT_EQ(two.code(), ErrorCode::no_space);
  EXPECT_EQ(two.problem(), "'m/blocks.0', 'm/blocks.2' are together " + std::to_string(model.unit_bytes - 100) +
                               " bytes larger than the limit");
  expect_unit(model, residency.lease({{id, 2}, {id, 2}}), {id, 2}, {});  // counted once
  Residency small(remote(), {.limit = model.unit_bytes - 1});
  const ModelId other = small.add("m", model.map, model.specs);
  EXPECT_EQ(error_of([&] { small.lease({{other, 1}}); }).problem(), "'m/blocks.1' is 1 bytes larger than the limit");
}

TEST(ResidencyTest, ManyThreadsLeaseSetsAtOnce) {
  const AModel model(12), second(6, 50, 2);
  const std::uint64_t limit = 5 * std::max(model.unit_bytes, second.unit_bytes);
  const auto device = remote(limit);
  Residency residency(device, {.limit = limit, .host_limit = 40'000});
  const ModelId a = residency.add("a", model.map, model.with(kThroughF8));
  const ModelId b = residency.add("b", second.map, second.with(kFromDisk));
  residency.onload(a);
  residency.onload(b);
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < 5; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937 random(thread);
      const auto pick = [&](unsigned of) { return static_cast<std::uint32_t>(random() % of); };
      for (int i = 0; i < 60; ++i) {
        const UnitRef x{a, pick(12)}, y{a, pick(12)}, z{b, pick(6)};
        const Lease lease = residency.lease({x, y, z});
        expect_unit(model, lease, x, {DType::F8_E4M3, DType::BF16});
        expect_unit(model, lease, y, {DType::F8_E4M3, DType::BF16});
        expect_unit(second, lease, z, {});
        if (thread == 0 && i % 20 == 10) residency.offload(a);
        if (thread == 0 && i % 20 == 15) residency.onload(a);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(device->counts().high_water, limit);
  EXPECT_EQ(residency.stats().leases, 300U);
  EXPECT_LE(residency.stats().peak_host_bytes, 40'000U);
  residency.offload(a);
  residency.offload(b);
  EXPECT_EQ(device->counts().bytes, 0U);
}

TEST(ResidencyTest, ATimeoutSaysWhoHasTheRoom) {
  const AModel model(3);
  Residency residency(remote(), {.limit = model.unit_bytes});
  const ModelId id = residency.add("m", model.map, model.specs);
  Lease held = residency.lease({{id, 1}});
  const Error error = error_of([&] { residency.lease({{id, 0}}, 30ms); });
  EXPECT_EQ(error.code(), ErrorCode::cancelled);
  EXPECT_EQ(error.problem(), "'m/blocks.0' didn't come within 30 ms");
  EXPECT_NE(error.detail().found.find("'m/blocks.1' (leased)"), std::string::npos) << error.what();
  const CancelToken cancel;
  std::thread other([&] {
    std::this_thread::sleep_for(20ms);
    cancel.cancel();
  });
  EXPECT_EQ(error_of([&] { residency.lease({{id, 0}}, {}, cancel); }).code(), ErrorCode::cancelled);
  other.join();
  std::thread waiting([&] { expect_unit(model, residency.lease({{id, 0}}), {id, 0}, {}); });
  std::this_thread::sleep_for(20ms);
  held.release();
  held.release();  // nothing more
  waiting.join();
  EXPECT_EQ(residency.stats().leases, 2U);
}

TEST(ResidencyTest, FirstComeFirstServed) {
  const AModel model(4);
  Residency residency(remote(), {.limit = 2 * model.unit_bytes});
  const ModelId id = residency.add("m", model.map, model.specs);
  Lease held = residency.lease({{id, 0}});
  std::atomic<int> order = 0;
  int large_was = -1, small_was = -1;
  std::thread large([&] {
    const Lease lease = residency.lease({{id, 1}, {id, 2}});
    large_was = order++;
  });
  std::this_thread::sleep_for(50ms);
  std::thread small([&] {
    const Lease lease = residency.lease({{id, 3}});  // there is room for it, but not its turn
    small_was = order++;
  });
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(order, 0);
  held.release();
  large.join();
  small.join();
  EXPECT_EQ(large_was, 0);
  EXPECT_EQ(small_was, 1);
}

TEST(ResidencyTest, OnloadBringsUnitsToTheHostAndOffloadTakesThemAway) {
  const AModel model(6);
  Residency residency(remote(), {});
  const std::uint64_t f8 = 32 * 64 + 64 + 16;
  const ModelId id = residency.add("m", model.map, model.with(kThroughF8));
  EXPECT_EQ(residency.stats().bytes_read, 0U);
  residency.onload(id);
  wait_until([&] { return residency.stats().host_bytes == 6 * f8; });
  wait_until([&] { return residency.stats().bytes_read == 6 * model.unit_bytes; });
  std::this_thread::sleep_for(10ms);
  run_passes(residency, model, id, 2, false, {DType::F8_E4M3, DType::BF16});
  EXPECT_EQ(residency.stats().bytes_read, 6 * model.unit_bytes);  // all came from the host
  residency.offload(id);
  EXPECT_EQ(residency.stats().host_bytes, 0U);
}

TEST(ResidencyTest, AnOffloadedModelMakesRoomForAnother) {
  const AModel model(6), second(6, 32, 2);
  const auto device = remote(6 * model.unit_bytes);
  Residency residency(device, {.limit = 6 * model.unit_bytes});
  const ModelId a = residency.add("a", model.map, model.specs), b = residency.add("b", second.map, second.specs);
  for (int turn = 0; turn < 3; ++turn) {
    residency.onload(a);
    run_passes(residency, model, a, 2, false, {});
    residency.offload(a);
    residency.onload(b);
    run_passes(residency, second, b, 2, false, {});
    residency.offload(b);
    EXPECT_EQ(device->counts().bytes, 0U);
  }
}

TEST(ResidencyTest, ALeaseOutlivesItsManager) {
  const AModel model(3);
  const auto device = remote();
  Lease lease;
  UnitRef unit;
  {
    Residency residency(device, {.limit = 3 * model.unit_bytes});
    unit = {residency.add("m", model.map, model.specs), 1};
    residency.onload(unit.model);
    residency.lease({{unit.model, 2}});
    lease = residency.lease({unit});
  }
  EXPECT_EQ(device->counts().bytes, model.unit_bytes);
  expect_unit(model, lease, unit, {});
  lease.release();
  EXPECT_EQ(device->counts().buffers, 0U);
  EXPECT_EQ(error_of([&] { lease.tensor("blocks.1.bias"); }).code(), ErrorCode::invalid_argument);
}

TEST(ResidencyTest, WatchesWhatIsFree) {
  const AModel model(4);
  const auto device = remote(2 * model.unit_bytes);  // the rest is somebody else's
  Residency residency(device, {.limit = 4 * model.unit_bytes, .watch_free_memory = true});
  const ModelId id = residency.add("m", model.map, model.specs);
  residency.onload(id);
  run_passes(residency, model, id, 5, false, {});
  EXPECT_LE(device->counts().high_water, 2 * model.unit_bytes);
  EXPECT_EQ(residency.stats().prefetch_failed, 0U);  // nothing was tried that couldn't be
  const Error error = error_of([&] { residency.lease({{id, 0}, {id, 1}, {id, 2}}); });
  EXPECT_EQ(error.code(), ErrorCode::no_space);
  run_passes(residency, model, id, 1, false, {});
}

TEST(ResidencyTest, WhatMakesNoSenseIsRefused) {
  const AModel model(2);
  Residency residency(remote(), {});
  const ModelId id = residency.add("m", model.map, model.specs);
  EXPECT_EQ(residency.unit(id, "blocks.1"), (UnitRef{id, 1}));
  const auto code = [](auto&& action) { return error_of(action).code(); };
  EXPECT_EQ(code([&] { residency.unit(id, "blocks.2"); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code([&] { residency.lease({{id, 2}}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code([&] { residency.onload(ModelId{1}); }), ErrorCode::invalid_argument);
  const auto add = [&](UnitSpec spec) { return error_of([&] { residency.add("n", model.map, {spec}); }); };
  EXPECT_EQ(add({"u", {"nothing"}, {}}).detail().tensor, "nothing");
  const std::vector<std::string> tensors = {"blocks.0.bias"};
  EXPECT_EQ(add({"u", tensors, {.onload = {Place::device, {}}, .preparing = {Place::host, {}}}}).code(),
            ErrorCode::invalid_argument);
  EXPECT_EQ(add({"u", tensors, {.computation = {Place::host, {}}}}).code(), ErrorCode::invalid_argument);
  EXPECT_EQ(add({"u", tensors, {.onload = {Place::disk, DType::I8}}}).code(), ErrorCode::unsupported);
  EXPECT_EQ(code([&] {
              residency.add("n", model.map, {model.specs[0], model.specs[0]});
            }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code([&] { Residency(remote(), {.memory = 1000}); }), ErrorCode::budget);
  EXPECT_EQ(code([&] { residency.write_trace(model.folder / "trace.json"); }), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace headrace
