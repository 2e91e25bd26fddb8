// Loading through the public API, onto the host, onto devices of the tests' own and onto OpenCL where there is one.
#include "support/counting_device.hpp"
#include "support/error_of.hpp"
#include "support/model.hpp"
#include "support/remote_device.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <thread>

#include <unistd.h>

namespace headrace {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool kWatchedForRaces = true;
#else
constexpr bool kWatchedForRaces = false;
#endif

using test::CountingDevice;
using test::error_of;
using test::random_bytes;
using test::random_floats;
using test::RemoteDevice;
using test::TempFolder;

std::vector<std::byte> bytes_of_buffer(const Buffer& buffer) {
  std::vector<std::byte> bytes(buffer.bytes());
  if (!bytes.empty()) buffer.device()->download(buffer, 0, bytes);
  return bytes;
}

// Large and small tensors, none of whose pieces fit each other; a scalar, an empty one, one of many pieces.
std::vector<test::TestTensor> mixed_model() {
  std::vector<test::TestTensor> tensors;
  tensors.push_back(random_bytes("embedding", DType::BF16, {3001, 1024}, 1));
  for (unsigned i = 0; i < 40; ++i) {
    const std::string layer = "layers." + std::to_string(i);
    tensors.push_back(random_bytes(layer + ".norm", DType::F32, {97}, 2 + i));
    tensors.push_back(random_floats(layer + ".weight", {64 + i, 96}, 200 + i));
  }
  tensors.push_back(random_bytes("scalar", DType::F32, {}, 500));
  tensors.push_back(random_bytes("nothing", DType::F16, {4, 0}, 501));
  tensors.push_back(random_bytes("ids", DType::I64, {1500}, 502));
  return tensors;
}

void expect_same(const Weights& weights, const std::vector<test::TestTensor>& tensors) {
  ASSERT_EQ(weights.size(), tensors.size());
  for (const test::TestTensor& tensor : tensors) {
    const LoadedTensor& loaded = weights.at(tensor.spec.name);
    EXPECT_EQ(loaded.dtype, tensor.spec.dtype);
    EXPECT_EQ(loaded.shape, tensor.spec.shape);
    EXPECT_EQ(bytes_of_buffer(loaded.buffer), tensor.bytes) << tensor.spec.name;
  }
}

struct LoadTest : testing::Test {
  const TempFolder folder;
  const std::filesystem::path file = folder / "model.safetensors";
  const std::vector<test::TestTensor> tensors = mixed_model();

  LoadTest() {
    Metadata metadata;
    metadata.set_string("format", "pt");
    test::save(file, tensors, metadata);
  }
};

TEST_F(LoadTest, TheHostHasEveryByteHoweverItIsRead) {
  for (const HostReads reads : {HostReads::automatic, HostReads::mapped, HostReads::cached, HostReads::direct}) {
    for (const unsigned threads : {1U, 3U}) {
      const Weights weights = load(file, "host", {.host_reads = reads, .threads = threads});
      expect_same(weights, tensors);
      EXPECT_EQ(weights.report().device_bytes, 0U);
      EXPECT_EQ(weights.report().tensors, tensors.size());
      EXPECT_EQ(weights.report().mapped_bytes > 0, reads == HostReads::mapped || weights.report().mapped_bytes > 0);
      EXPECT_EQ(weights.metadata().find("format")->as_string(), "pt");
    }
  }
}

TEST_F(LoadTest, MemoryOnTheHostBeginsWhereItShall) {
  for (const HostReads reads : {HostReads::mapped, HostReads::cached, HostReads::direct}) {
    const Weights weights = load(file, "host", {.host_reads = reads, .alignment = 4096, .huge_pages = false});
    expect_same(weights, tensors);
    for (const LoadedTensor& tensor : weights) EXPECT_EQ(tensor.buffer.handle() % 4096, 0U) << tensor.name;
  }
  EXPECT_EQ(error_of([&] { load(file, "host", {.alignment = 24}); }).code(), ErrorCode::invalid_argument);
}

// A mapping begins at a page: whether a tensor is at a multiple of more isn't to be seen from its place in the file.
TEST_F(LoadTest, MappedTensorsTooBeginAtMoreThanAPage) {
  constexpr std::size_t kAlignment = std::size_t{64} << 10;
  const std::vector<test::TestTensor> one{random_bytes("a", DType::U8, {3 * 4096}, 1)};
  Metadata metadata;
  metadata.set_string("padding", std::string(kAlignment - 200, 'x'));
  test::save(folder / "one.safetensors", one, metadata);
  const std::uint64_t end = Checkpoint::open(folder / "one.safetensors").tensors()[0].offset;
  ASSERT_LE(end, kAlignment);
  metadata.set_string("padding", std::string(kAlignment - 200 + kAlignment - end, 'x'));
  test::save(folder / "one.safetensors", one, metadata);
  ASSERT_EQ(Checkpoint::open(folder / "one.safetensors").tensors()[0].offset, kAlignment);
  std::vector<Weights> all;  // of 19 pages each: most of their mappings begin elsewhere
  for (unsigned i = 0; i < 16; ++i) {
    all.push_back(load(folder / "one.safetensors", "host", {.host_reads = HostReads::mapped, .alignment = kAlignment}));
    EXPECT_EQ(all.back().at("a").buffer.handle() % kAlignment, 0U);
    expect_same(all.back(), one);
  }
}

// They are pages of the file: nothing is left to be read and copied.
TEST_F(LoadTest, SmallMappedTensorsTakeNoMemoryToCome) {
  std::vector<test::TestTensor> many;
  for (unsigned i = 0; i < 300; ++i) many.push_back(random_bytes("t" + std::to_string(i), DType::U8, {4096}, i));
  many.push_back(random_bytes("nothing", DType::U8, {0}, 300));
  test::save(folder / "many.safetensors", many);
  const Weights weights = load(folder / "many.safetensors", "host", {.host_reads = HostReads::mapped});
  expect_same(weights, many);
  EXPECT_EQ(weights.report().mapped_bytes, 300U * 4096);
  EXPECT_LT(weights.report().peak_budget, 400'000U);  // the plan; one piece would be 1 MiB
}

// Nothing is read, so nobody is started for it.
TEST_F(LoadTest, CachedTensorsThatStayAsTheyAreNeedNoThread) {
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
  };
  const auto before = threads();
  WeightStream as_it_is = stream(file, "host", {.host_reads = HostReads::mapped});
  EXPECT_EQ(threads(), before);
  while (as_it_is.next()) {
  }
  EXPECT_EQ(as_it_is.report().tensors, tensors.size());
  // Nobody takes these, so that whoever makes them has to wait.
  const WeightStream made = stream(file, "host", {.type = DType::F32, .memory = std::uint64_t{2} << 20});
  EXPECT_GT(threads(), before);
}

TEST_F(LoadTest, MappedTensorsCanBeWrittenToAndTheFileStays) {
  const auto before = test::read_file(file);
  const Weights weights = load(file, "host", {.host_reads = HostReads::mapped});
  EXPECT_GT(weights.report().mapped_bytes, 6'000'000U);
  for (const LoadedTensor& tensor : weights) {
    if (tensor.bytes() > 0) tensor.buffer.host_bytes()[0] ^= std::byte{0xff};
  }
  EXPECT_EQ(test::read_file(file), before);
}

TEST_F(LoadTest, ADeviceGetsWhatTheHostDoesNotKeep) {
  const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  for (const std::uint64_t memory : {std::uint64_t{4} << 20, std::uint64_t{64} << 20}) {
    for (const unsigned threads : {1U, 4U}) {
      const Weights weights = load(file, device, {.memory = memory, .threads = threads});
      expect_same(weights, tensors);
      std::uint64_t on_device = 0;
      for (const LoadedTensor& tensor : weights) {
        std::uint64_t elements = 1;
        for (const std::uint64_t dim : tensor.shape) elements *= dim;
        EXPECT_EQ(tensor.on_host(), elements < 1000) << tensor.name;
        on_device += tensor.on_host() ? 0 : tensor.bytes();
      }
      EXPECT_EQ(weights.report().device_bytes, on_device);
      EXPECT_EQ(device->counts().bytes, on_device);
      EXPECT_EQ(device->counts().uploaded % on_device, 0U);  // each byte once, each time
      EXPECT_EQ(device->counts().staging, 0U);
      EXPECT_LE(weights.report().peak_budget, memory);
    }
  }
  EXPECT_EQ(device->counts().buffers, 0U);
}

TEST_F(LoadTest, WithoutThresholdEverythingGoesToTheDevice) {
  const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  const Weights weights = load(file, device, {.host_threshold = 0});
  expect_same(weights, tensors);
  for (const LoadedTensor& tensor : weights) EXPECT_FALSE(tensor.on_host()) << tensor.name;
  EXPECT_EQ(device->counts().buffers, tensors.size() - 1);  // one has no bytes
}

TEST_F(LoadTest, OpenClAndEveryOtherDeviceOfThisMachine) {
  for (const DeviceInfo& info : list_devices()) {
    SCOPED_TRACE(info.name);
    if (kWatchedForRaces && info.kind == DeviceKind::opencl) continue;  // its threads are not ours
    expect_same(load(file, info.name, {.host_threshold = 0}), tensors);
    expect_same(load(file, info.name, {.stream_weights = false}), tensors);
    const Weights narrow = load(file, info.name, {.type = DType::BF16, .memory = std::uint64_t{8} << 20});
    EXPECT_EQ(narrow.at("layers.3.weight").dtype, DType::BF16);
  }
}

TEST_F(LoadTest, ThePlanIsToldBeforeATensorIsRead) {
  std::vector<std::pair<std::string, DType>> told;
  LoadOptions options{.type = DType::BF16, .shaping = {.select = {"weight"}}};
  options.on_plan = [&](std::span<const TensorInfo> plan) {
    for (const TensorInfo& tensor : plan) told.emplace_back(tensor.name, tensor.dtype);
  };
  options.on_tensor = [&](const std::string&, const LoadedTensor&) { EXPECT_EQ(told.size(), 40U); };
  const Weights weights = load(file, "host", options);
  EXPECT_EQ(weights.size(), 40U);
  std::size_t i = 0;
  for (const LoadedTensor& tensor : weights) EXPECT_EQ(told.at(i++), std::pair(tensor.name, tensor.dtype));

  const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  options.on_plan = [](std::span<const TensorInfo>) { throw std::runtime_error("not these"); };
  EXPECT_THROW(load(file, device, options), std::runtime_error);
  EXPECT_EQ(device->counts().uploaded, 0U);
}

TEST_F(LoadTest, AStreamSaysItsMetadataInTheLanguageOfAFormat) {
  const WeightStream tensors_of_file = stream(file);
  EXPECT_EQ(tensors_of_file.metadata_for(Format::safetensors).find("format")->as_string(), "pt");
  const std::filesystem::path saved = folder / "saved.gguf";
  LoadOptions options{.shaping = {.drop = {"nothing|scalar"}}};
  load(file, "host", options).save(saved);
  const Metadata expected = Checkpoint::open(saved).metadata();
  const Metadata told = stream(file, "host", options).metadata_for(Format::gguf);
  ASSERT_EQ(told.size(), expected.size());
  for (std::size_t i = 0; i < told.size(); ++i) EXPECT_EQ(told.key(i), expected.key(i));
}

TEST_F(LoadTest, RetypedAsConvertWouldDoIt) {
  const std::filesystem::path converted = folder / "q8_0.gguf";
  convert(file, converted, {.type = DType::Q8_0, .rules = {parse_rule("embedding=keep")}});
  const Checkpoint expected = Checkpoint::open(converted);
  const auto device = std::make_shared<RemoteDevice>();
  const Weights weights =
      load(file, device, {.type = DType::Q8_0, .rules = {parse_rule("embedding=keep")}, .memory = 4 << 20});
  for (const TensorInfo& tensor : expected.tensors()) {
    const LoadedTensor& loaded = weights.at(tensor.name);
    EXPECT_EQ(loaded.dtype, tensor.dtype) << tensor.name;
    EXPECT_EQ(bytes_of_buffer(loaded.buffer), test::bytes_in(expected, tensor)) << tensor.name;
  }
  // And back, block types decoded on the way; one that a rule wants measured.
  const Weights back = load(converted, "host", {.type = DType::F32});
  EXPECT_EQ(back.at("layers.7.weight").dtype, DType::F32);
  const Weights measured = load(file, device, {.rules = {parse_rule("weight$=rmse:0.01")}});
  EXPECT_EQ(measured.at("layers.7.weight").dtype, DType::Q8_0);
  EXPECT_EQ(load(converted, "host").at("layers.7.weight").dtype, DType::Q8_0);
}

TEST_F(LoadTest, TensorsComeInTheOrderOfArrivalAndProgressReachesTheEnd) {
  const auto device = std::make_shared<RemoteDevice>();
  std::vector<std::string> names;
  std::vector<Progress> seen;
  LoadOptions options;
  options.on_tensor = [&](const std::string& name, const LoadedTensor& tensor) {
    EXPECT_EQ(name, tensor.name);
    const auto at = std::ranges::find(tensors, name, [](const auto& one) { return one.spec.name; });
    EXPECT_EQ(bytes_of_buffer(tensor.buffer), at->bytes);  // it has arrived, all of it
    names.push_back(name);
  };
  options.on_progress = [&](const Progress& progress) { seen.push_back(progress); };
  const Weights weights = load(file, device, options);
  EXPECT_EQ(names.size(), tensors.size());
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().bytes_done, seen.back().bytes_total);
  EXPECT_EQ(seen.back().tensors_done, tensors.size());
  EXPECT_GT(weights.report().seconds_to_first, 0);
  EXPECT_LE(weights.report().seconds_to_first, weights.report().seconds);
}

TEST_F(LoadTest, WhatACallbackThrowsReachesTheCallerAndNothingIsLeft) {
  const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  struct Mine {};
  LoadOptions options;
  options.on_tensor = [](const std::string&, const LoadedTensor&) { throw Mine(); };
  EXPECT_THROW(load(file, device, options), Mine);
  EXPECT_EQ(device->counts().buffers, 0U);
  options = {};
  options.on_progress = [](const Progress&) { throw Mine(); };
  EXPECT_THROW(load(file, device, options), Mine);
  options = {};
  options.allocate = [](const TensorInfo&) -> Buffer { throw Mine(); };
  EXPECT_THROW(load(file, device, options), Mine);
  EXPECT_EQ(device->counts().buffers, 0U);
  EXPECT_EQ(device->counts().staging, 0U);
}

TEST_F(LoadTest, StrictNamesAreCheckedBeforeAnythingIsRead) {
  const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  std::vector<std::string> names;
  for (const auto& tensor : tensors) names.push_back(tensor.spec.name);
  expect_same(load(file, device, {.strict = names}), tensors);
  names.back() = "positions";
  const std::size_t before = device->counts().allocated;
  const Error error = error_of([&] { load(file, device, {.strict = names}); });
  EXPECT_EQ(error.code(), ErrorCode::conflict);
  EXPECT_EQ(error.detail().found, "1 missing: 'positions'; 1 unexpected: 'ids'");
  EXPECT_EQ(device->counts().allocated, before);
  Shaping shaping;
  shaping.select = {"^layers"};
  EXPECT_EQ(load(file, device, {.shaping = shaping}).size(), 80U);
}

TEST_F(LoadTest, TheCallersMemoryIsUsed) {
  std::map<std::string, std::vector<std::byte>> memory;
  const auto host = open_device("host");
  LoadOptions options;
  options.allocate = [&](const TensorInfo& tensor) {
    if (tensor.name == "ids") return Buffer();  // the loader's own will do
    auto& bytes = memory[std::string(tensor.name)];
    bytes.resize(tensor.bytes);
    return host->wrap(reinterpret_cast<std::uintptr_t>(bytes.data()), bytes.size());
  };
  const Weights weights = load(file, host, options);
  expect_same(weights, tensors);
  EXPECT_TRUE(weights.at("ids").buffer.owned());
  for (const auto& tensor : tensors) {
    if (tensor.spec.name != "ids") {
      EXPECT_EQ(memory[tensor.spec.name], tensor.bytes) << tensor.spec.name;
    }
  }
  options.allocate = [&](const TensorInfo& tensor) { return host->allocate(tensor.bytes + 1); };
  const Error error = error_of([&] { load(file, host, options); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  EXPECT_FALSE(error.detail().tensor.empty());
}

TEST_F(LoadTest, GatheredFirstThenSent) {
  const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  std::size_t on_device_at_first = 0;
  LoadOptions options{.stream_weights = false};
  options.on_tensor = [&](const std::string&, const LoadedTensor&) {
    if (on_device_at_first == 0) on_device_at_first = device->counts().allocated;
  };
  const Weights weights = load(file, device, options);
  expect_same(weights, tensors);
  EXPECT_LE(on_device_at_first, 1U);
  EXPECT_TRUE(weights.at("embedding").host_bytes().empty());
}

TEST_F(LoadTest, SavedFromTheHostsCopies) {
  const auto device = std::make_shared<RemoteDevice>();
  for (const bool stream : {true, false}) {
    const Weights kept = load(file, device, {.stream_weights = stream, .keep_host_copy = true});
    kept.save(folder / "copy.safetensors", {.force = true});
    EXPECT_TRUE(verify(Checkpoint::open(file), Checkpoint::open(folder / "copy.safetensors")).same(0));
    EXPECT_EQ(Checkpoint::open(folder / "copy.safetensors").metadata().find("format")->as_string(), "pt");
    kept.save(folder / "copy.gguf", {.force = true});
    EXPECT_TRUE(verify(Checkpoint::open(file), Checkpoint::open(folder / "copy.gguf")).same(0));
  }
  load(file, "host").save(folder / "host.safetensors");
  EXPECT_TRUE(verify(Checkpoint::open(file), Checkpoint::open(folder / "host.safetensors")).same(0));
}

TEST_F(LoadTest, AStreamedModelCannotBeSavedAndNoFileIsTouched) {
  const Weights weights = load(file, std::make_shared<RemoteDevice>());
  const auto before = folder.names();
  const Error error = error_of([&] { weights.save(folder / "out.safetensors"); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_NE(error.detail().hint.find("keep_host_copy"), std::string::npos);
  EXPECT_EQ(folder.names(), before);
}

TEST_F(LoadTest, AStreamGivesTensorsAwayAndWaitsForTheCaller) {
  const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  WeightStream weights = stream(file, device, {.memory = std::uint64_t{2} << 20});
  EXPECT_EQ(weights.size(), tensors.size());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // nobody takes: the staging memory is the limit
  EXPECT_LE(device->counts().uploaded, std::size_t{2} << 20);
  std::vector<LoadedTensor> all;
  while (auto tensor = weights.next()) all.push_back(std::move(*tensor));  // keeping all of them blocks nothing
  EXPECT_EQ(all.size(), tensors.size());
  EXPECT_FALSE(weights.next());
  EXPECT_EQ(weights.progress().bytes_done, weights.progress().bytes_total);
  EXPECT_EQ(device->counts().staging, 0U) << "staging memory is kept after the last tensor";
  for (const LoadedTensor& tensor : all) {
    const auto at = std::ranges::find(tensors, tensor.name, [](const auto& one) { return one.spec.name; });
    EXPECT_EQ(bytes_of_buffer(tensor.buffer), at->bytes) << tensor.name;
  }
}

TEST_F(LoadTest, OntoTheHostAStreamReadsAheadNoMoreThanTheBudget) {
  std::atomic<std::uint64_t> made = 0;
  LoadOptions options{.host_reads = HostReads::cached, .memory = std::uint64_t{2} << 20, .threads = 1};
  options.allocate = [&](const TensorInfo& tensor) {
    made += tensor.bytes;
    return Buffer();
  };
  TempFolder other;
  std::vector<test::TestTensor> many;
  for (unsigned i = 0; i < 20; ++i) many.push_back(random_bytes("t" + std::to_string(i), DType::U8, {1 << 20}, i));
  test::save(other / "many.safetensors", many);
  WeightStream weights = stream(other / "many.safetensors", "host", options);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LE(made, std::uint64_t{5} << 20);
  std::size_t count = 0;
  while (weights.next()) ++count;
  EXPECT_EQ(count, 20U);
}

TEST_F(LoadTest, ADeviceThatIsTooSmallSaysSoAtOnce) {
  const auto remote = std::make_shared<RemoteDevice>();
  remote->free_bytes = 1000;
  const Error full = error_of([&] { load(file, remote); });
  EXPECT_EQ(full.code(), ErrorCode::no_space);
  EXPECT_EQ(full.detail().file, "remote:0");
  EXPECT_TRUE(stream(file, remote).next());  // it may hold one at a time
  remote->free_bytes = {};
  remote->largest = 1 << 20;
  const Error large = error_of([&] { stream(file, remote); });
  EXPECT_EQ(large.code(), ErrorCode::unsupported);
  EXPECT_EQ(large.detail().tensor, "embedding");
}

TEST_F(LoadTest, FailuresOfTheDeviceFreeEveryBuffer) {
  for (std::size_t n = 1; n < 60; n += 7) {
    const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
    device->fail_allocation(n);
    const Error error = error_of([&] { load(file, device, {.host_threshold = 0}); });
    EXPECT_EQ(error.code(), ErrorCode::no_space);
    EXPECT_FALSE(error.detail().tensor.empty());
    EXPECT_EQ(device->counts().buffers, 0U);
    device->fail_upload(n);
    EXPECT_EQ(error_of([&] { load(file, device, {.host_threshold = 0}); }).code(), ErrorCode::io);
    EXPECT_EQ(device->counts().buffers, 0U);
    EXPECT_EQ(device->counts().staging, 0U);
    expect_same(load(file, device), tensors);  // it is usable afterwards
  }
}

TEST_F(LoadTest, AStreamThatHasFailedHoldsNothing) {
  for (std::size_t n = 1; n < 60; n += 7) {
    const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
    device->fail_upload(n);
    WeightStream weights = stream(file, device, {.host_threshold = 0, .keep_host_copy = true, .threads = 3});
    const Error error = error_of([&] {
      while (weights.next()) {
      }
    });
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_EQ(device->counts().bytes, 0U);
    EXPECT_EQ(device->counts().staging, 0U);
    EXPECT_EQ(device->counts().in_flight, 0U);
    EXPECT_FALSE(weights.next());
  }
}

TEST_F(LoadTest, AFileThatEndsTooSoonIsNamedAndNothingIsLeft) {
  for (const HostReads reads : {HostReads::cached, HostReads::direct, HostReads::mapped}) {
    for (const bool remote : {true, false}) {
      if (reads == HostReads::mapped && !remote) continue;  // a mapping is the file
      const TempFolder other;
      const auto path = other / "short.safetensors";
      std::filesystem::copy_file(file, path);
      const auto device = std::make_shared<CountingDevice>(
          remote ? std::shared_ptr<Device>(std::make_shared<RemoteDevice>()) : open_device("host"));
      std::atomic<bool> cut = false;
      LoadOptions options{.host_reads = reads, .threads = 1};
      options.allocate = [&](const TensorInfo&) {
        if (!cut.exchange(true)) std::filesystem::resize_file(path, 3'000'000);
        return Buffer();
      };
      const Error error = error_of([&] { load(path, device, options); });
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_EQ(error.detail().file, path.string());
      EXPECT_FALSE(error.detail().tensor.empty());
      EXPECT_TRUE(error.detail().offset);
      EXPECT_EQ(device->counts().buffers, 0U);
    }
  }
}

TEST_F(LoadTest, CancelledAtAnyMomentNothingLeaks) {
  const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  std::mt19937 random(7);
  unsigned cancelled = 0;
  for (unsigned i = 0; i < 200; ++i) {
    LoadOptions options{.host_threshold = 0, .keep_host_copy = i % 3 == 0, .memory = std::uint64_t{2} << 20};
    if (i % 2 == 0) options.type = DType::F32;
    std::thread canceller([&, wait = random() % 4000] {
      std::this_thread::sleep_for(std::chrono::microseconds(wait));
      options.source.cancel.cancel();
    });
    try {
      const Weights weights = load(file, device, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::cancelled);
      ++cancelled;
    }
    canceller.join();
    ASSERT_EQ(device->counts().buffers, 0U);
    ASSERT_EQ(device->counts().staging, 0U);
    ASSERT_EQ(device->counts().in_flight, 0U);
  }
  EXPECT_GT(cancelled, 20U);
}

TEST_F(LoadTest, AStreamThatIsDroppedEndsItsWork) {
  const auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  for (unsigned taken = 0; taken < 20; ++taken) {
    WeightStream weights = stream(file, device, {.memory = std::uint64_t{2} << 20});
    for (unsigned i = 0; i < taken; ++i) EXPECT_TRUE(weights.next());
  }
  EXPECT_EQ(device->counts().buffers, 0U);
  EXPECT_EQ(device->counts().staging, 0U);
}

TEST_F(LoadTest, WeightsSayWhereTheyCameFrom) {
  EXPECT_EQ(load(file, "host").location(), file);
  EXPECT_EQ(stream(file, "host").location(), file);
}

TEST_F(LoadTest, WeightsGiveTheirTensorsAway) {
  Weights weights = load(file, "host");
  const LoadedTensor taken = weights.take("layers.3.weight");
  EXPECT_EQ(taken.name, "layers.3.weight");
  EXPECT_EQ(weights.find("layers.3.weight"), nullptr);
  EXPECT_EQ(weights.size(), tensors.size() - 1);
  EXPECT_EQ(bytes_of_buffer(weights.at("ids").buffer), tensors.back().bytes);
  EXPECT_EQ(error_of([&] { weights.take("layers.3.weight"); }).code(), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace headrace
