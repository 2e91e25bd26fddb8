// Tensors by name, read when they are asked for.
#include "http/web_server.hpp"
#include "support/error_of.hpp"
#include "support/model.hpp"
#include "support/remote_device.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <thread>

namespace headrace {
namespace {

using test::error_of;
using test::random_bytes;
using test::random_floats;
using test::TempFolder;

std::vector<std::byte> read(const DiskMap& map, std::string_view name) {
  std::vector<std::byte> bytes(map.find(name)->bytes);
  map.read(name, bytes);
  return bytes;
}

struct DiskMapTest : testing::Test {
  const TempFolder folder;
  const std::vector<test::TestTensor> first{random_floats("a.weight", {130, 96}, 1),
                                            random_bytes("a.bias", DType::BF16, {7}, 2),
                                            random_bytes("nothing", DType::F32, {0, 4}, 3)};
  const std::vector<test::TestTensor> second{random_bytes("big", DType::U8, {20'000'001}, 4),
                                             random_bytes("scalar", DType::I64, {}, 5)};
  const std::vector<std::string> files{folder / "1.safetensors", folder / "2.gguf"};

  DiskMapTest() {
    test::save(files[0], first);
    test::save(folder / "2.safetensors", second);
    save_second();
  }
  void save_second() {  // another format
    std::vector<test::TestTensor> signed_bytes{random_bytes("big", DType::I8, {20'000'001}, 4)};
    test::save(files[1], signed_bytes);
  }
};

TEST_F(DiskMapTest, ManyFilesAreOneMap) {
  const DiskMap map(files);
  ASSERT_EQ(map.tensors().size(), 4U);
  for (const auto& tensor : first) EXPECT_EQ(read(map, tensor.spec.name), tensor.bytes) << tensor.spec.name;
  EXPECT_EQ(read(map, "big"), second[0].bytes);
  EXPECT_TRUE(map.contains("a.bias"));
  EXPECT_EQ(map.find("a.bia"), nullptr);
  EXPECT_EQ(map.statistics().reads, 4U);
  EXPECT_EQ(map.statistics().bytes_given, map.statistics().bytes_read);
}

TEST_F(DiskMapTest, NothingIsReadBeforeItIsAskedFor) {
  const DiskMap map(files);
  EXPECT_EQ(map.statistics().bytes_read, 0U);
  read(map, "a.bias");
  EXPECT_EQ(map.statistics().bytes_read, 14U);
}

TEST_F(DiskMapTest, CastAndDecodedOnTheWay) {
  convert(files[0], folder / "q8.gguf", {.type = DType::Q8_0});
  convert(files[0], folder / "bf16.safetensors", {.type = DType::BF16});
  const Checkpoint narrow = Checkpoint::open(folder / "bf16.safetensors");
  const DiskMap map(files[0], {.type = DType::BF16});
  EXPECT_EQ(map.find("a.weight")->dtype, DType::BF16);
  EXPECT_EQ(read(map, "a.weight"), test::bytes_in(narrow, *narrow.find("a.weight")));
  const DiskMap decoded(folder / "q8.gguf", {.type = DType::F32});
  EXPECT_EQ(decoded.find("a.weight")->dtype, DType::F32);
  const DiskMap blocks(folder / "q8.gguf");
  EXPECT_EQ(blocks.find("a.weight")->dtype, DType::Q8_0);
}

TEST_F(DiskMapTest, PartsAreThePartsOfTheWhole) {
  convert(files[0], folder / "q8.gguf", {.type = DType::Q8_0});
  const DiskMap as_it_is(files), decoded(folder / "q8.gguf", {.type = DType::F32});
  const auto check = [](const DiskMap& map, std::string_view name, std::uint64_t offset, std::size_t bytes) {
    const auto whole = read(map, name);
    std::vector<std::byte> part(bytes);
    map.read_part(name, offset, part);
    EXPECT_TRUE(std::ranges::equal(part, std::span(whole).subspan(offset, bytes))) << name << ' ' << offset;
  };
  check(as_it_is, "big", 12'345'678, 7'654'323);  // to its end
  check(as_it_is, "a.bias", 4, 6);
  check(as_it_is, "nothing", 0, 0);
  check(decoded, "a.weight", 96 * 4, 96 * 4 * 7);
  std::vector<std::byte> part(64);
  const Error odd = error_of([&] { decoded.read_part("a.weight", 4, part); });  // within a block of Q8_0
  EXPECT_EQ(odd.code(), ErrorCode::invalid_argument);
  EXPECT_EQ(odd.detail().tensor, "a.weight");
  EXPECT_EQ(error_of([&] { as_it_is.read_part("big", 20'000'000, part); }).code(), ErrorCode::invalid_argument);
}

TEST_F(DiskMapTest, NamesAreTheCallers) {
  DiskMapOptions options;
  options.rename = [](std::string_view name) {
    return name == "nothing" ? std::string() : "model." + std::string(name);
  };
  const DiskMap map(files[0], options);
  EXPECT_EQ(map.tensors().size(), 2U);
  EXPECT_EQ(read(map, "model.a.bias"), first[1].bytes);
  options.rename = [](std::string_view) { return "same"; };
  const Error error = error_of([&] { DiskMap(files[0], options); });
  EXPECT_EQ(error.code(), ErrorCode::conflict);
  EXPECT_EQ(error.detail().tensor, "same");
}

TEST_F(DiskMapTest, DuplicatesAcrossFilesAreRefused) {
  std::filesystem::copy_file(files[0], folder / "3.safetensors");
  const std::vector<std::string> twice{files[0], folder / "3.safetensors"};
  const Error error = error_of([&] { DiskMap{twice}; });
  EXPECT_EQ(error.code(), ErrorCode::conflict);
  EXPECT_NE(std::string(error.what()).find("a.weight"), std::string::npos);
}

TEST_F(DiskMapTest, WhatIsWrongIsSaid) {
  const DiskMap map(files);
  std::vector<std::byte> small(3);
  EXPECT_EQ(error_of([&] { map.read("a.bias", small); }).detail().expected, "14 bytes");
  EXPECT_EQ(error_of([&] { map.read("a.bia", small); }).detail().tensor, "a.bia");
  EXPECT_EQ(error_of([&] { map.prefetch(std::vector<std::string>{"none"}); }).code(), ErrorCode::invalid_argument);
  std::filesystem::resize_file(files[1], 5'000'000);
  std::vector<std::byte> big(20'000'001);
  const Error error = error_of([&] { map.read("big", big); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_EQ(error.detail().tensor, "big");
  EXPECT_TRUE(error.detail().offset);
  EXPECT_EQ(read(map, "a.bias"), first[1].bytes);  // the others are as well as before
}

TEST_F(DiskMapTest, RequireNamesEveryDifference) {
  const DiskMap map(files[0]);
  std::vector<TensorSpec> specs;
  for (const auto& tensor : first) specs.push_back(tensor.spec);
  map.require(specs);
  specs[0].shape = {96, 130};
  specs[1].from = DType::F32;
  specs[2].name = "something";
  const Error error = error_of([&] { map.require(specs); });
  EXPECT_EQ(error.code(), ErrorCode::conflict);
  EXPECT_EQ(
      error.detail().found,
      "4 differences: mismatched 'a.weight': [130, 96] instead of [96, 130]; mismatched 'a.bias': BF16 instead of "
      "F32; missing 'something'; unexpected 'nothing'");
}

TEST_F(DiskMapTest, FromManyThreads) {
  const DiskMap map(files, {.type = DType::F32, .memory = std::uint64_t{8} << 20});
  const auto expected = read(map, "a.weight");
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 20; ++j) {
        EXPECT_EQ(read(map, "a.weight"), expected);
        map.prefetch(std::vector<std::string>{"big", "a.bias"});
        map.release(std::vector<std::string>{"big"}, j % 2 == 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(DiskMapTest, FromFarAwayPrefetchedTensorsAreHeldUntilReleased) {
  test::WebServer server(test::read_file(folder / "2.safetensors"));
  const DiskMap map(server.url());
  const std::vector<std::string> names{"big"};
  map.prefetch(names);
  const std::uint64_t bytes = second[0].bytes.size();
  for (int i = 0; i < 5000 && map.statistics().cached_bytes < bytes; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(map.statistics().cached_bytes, bytes);
  const int requests = server.requests();
  EXPECT_EQ(read(map, "big"), second[0].bytes);
  EXPECT_EQ(server.requests(), requests);
  map.release(names);
  EXPECT_EQ(map.statistics().cached_bytes, 0U);
  EXPECT_EQ(read(map, "big"), second[0].bytes);
  EXPECT_GT(server.requests(), requests);
  server.behave([](test::WebServer::Exchange& exchange) { exchange.stall(); });
  map.prefetch(names);  // dropping the map doesn't wait for a server that says nothing
}

TEST_F(DiskMapTest, OntoADevice) {
  const auto device = std::make_shared<test::RemoteDevice>();
  const DiskMap map(files);
  const LoadedTensor tensor = map.load("a.weight", device);
  std::vector<std::byte> bytes(tensor.bytes());
  device->download(tensor.buffer, 0, bytes);
  EXPECT_EQ(bytes, first[0].bytes);
  EXPECT_EQ(map.load("a.bias").host_bytes().size(), 14U);
}

}  // namespace
}  // namespace headrace
