// CheckpointWriter beyond plain files: shards, retyping, late tensors, temporary names, commits in the background.
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

namespace headrace {
namespace {

using test::random_bytes;
using test::random_floats;
using test::read_file;
using test::TempFolder;

std::string message_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return "no error";
}

std::vector<std::string> sorted_names(const TempFolder& folder) {
  auto names = folder.names();
  std::ranges::sort(names);
  return names;
}

TEST(CheckpointWriter, LaysUnalignedTensorsWidestFirst) {
  const TempFolder folder;
  const auto odd = random_bytes("odd", DType::U8, {3}, 1), wide = random_bytes("wide", DType::F64, {2}, 2);
  test::save(folder / "m.safetensors", {odd, wide});
  const Checkpoint made = Checkpoint::open(folder / "m.safetensors");
  EXPECT_EQ(made.tensors()[0].name, "odd");
  EXPECT_EQ(made.find("wide")->offset % 8, 0U);
  EXPECT_EQ(test::bytes_in(made, *made.find("odd")), odd.bytes);
}

TEST(CheckpointWriter, Shards) {
  for (const char* suffix : {".safetensors", ".gguf"}) {
    const TempFolder folder;
    std::vector<test::TestTensor> tensors;
    std::vector<TensorSpec> specs;
    for (unsigned i = 0; i < 5; ++i) {
      tensors.push_back(random_bytes("t" + std::to_string(i), DType::F32, {100}, i));
      specs.push_back(tensors.back().spec);
    }
    CheckpointWriter writer(folder / ("m" + std::string(suffix)), specs, {.shard_size = 800});
    for (std::size_t i = 5; i-- > 0;) writer.write(tensors[i].spec.name, tensors[i].bytes);
    const auto files = writer.files();
    EXPECT_TRUE(folder.names().empty());
    writer.commit();
    std::vector<std::string> expected;
    for (const auto& file : files) expected.push_back(file.filename());
    std::ranges::sort(expected);
    EXPECT_EQ(sorted_names(folder), expected);
    EXPECT_EQ(expected.size(), suffix == std::string(".gguf") ? 3U : 4U);
    const Checkpoint made = Checkpoint::open(files[suffix == std::string(".gguf") ? 0 : 3]);
    for (const auto& tensor : tensors) EXPECT_EQ(test::bytes_in(made, *made.find(tensor.spec.name)), tensor.bytes);
  }
}

// What convert makes of the same numbers is the truth.
TEST(CheckpointWriter, RetypesPartsCutAnywhere) {
  const auto tensor = random_floats("w", {96, 256}, 1);
  const std::pair<DType, const char*> targets[] = {{DType::BF16, "safetensors"}, {DType::F8_E4M3, "safetensors"},
                                                   {DType::F4, "safetensors"},   {DType::Q8_0, "gguf"},
                                                   {DType::Q4_K, "gguf"},        {DType::F16, "gguf"}};
  for (const auto& [type, suffix] : targets) {
    const TempFolder folder;
    test::save(folder / "in.safetensors", {tensor});
    convert(folder / "in.safetensors", folder / ("expected." + std::string(suffix)),
            {.rules = {parse_rule("w=" + std::string(name(type)))}});
    const auto expected = Checkpoint::open(folder / ("expected." + std::string(suffix)));
    for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{1000}, tensor.bytes.size()}) {
      const auto path = folder / ("made." + std::string(suffix));
      const TensorSpec spec{"w", type, {96, 256}, DType::F32};
      CheckpointWriter writer(path, std::vector{spec}, {.force = true, .threads = 3});
      std::vector<std::size_t> starts;
      for (std::size_t at = 0; at < tensor.bytes.size(); at += step) starts.push_back(at);
      std::ranges::shuffle(starts, std::mt19937(1));
      for (const std::size_t at : starts) {
        writer.write_at("w", at, std::span(tensor.bytes).subspan(at, std::min(step, tensor.bytes.size() - at)));
      }
      writer.commit();
      const auto made = Checkpoint::open(path);
      EXPECT_EQ(test::bytes_in(made, *made.find("w")), test::bytes_in(expected, *expected.find("w"))) << name(type);
    }
  }
}

TEST(CheckpointWriter, RetypesALargeTensorOnSeveralThreads) {
  const TempFolder folder;
  const auto tensor = random_floats("w", {3000, 1024}, 1);
  test::save(folder / "in.safetensors", {tensor});
  convert(folder / "in.safetensors", folder / "expected.gguf", {.type = DType::Q4_0});
  const TensorSpec spec{"w", DType::Q4_0, {3000, 1024}, DType::F32};
  CheckpointWriter writer(folder / "made.gguf", std::vector{spec}, {.memory = 4 << 20, .threads = 4});
  writer.write("w", tensor.bytes);
  writer.commit();
  const auto made = Checkpoint::open(folder / "made.gguf"), expected = Checkpoint::open(folder / "expected.gguf");
  EXPECT_EQ(test::bytes_in(made, *made.find("w")), test::bytes_in(expected, *expected.find("w")));
}

TEST(CheckpointWriter, RefusesWhatCantBeRetyped) {
  const TempFolder folder;
  const auto refused = [&](const TensorSpec& spec) {
    return message_of([&] { CheckpointWriter(folder / "m.safetensors", std::vector{spec}); });
  };
  EXPECT_THAT(refused({"w", DType::F32, {4}, DType::I32}), testing::HasSubstr("unsupported: "));
  EXPECT_THAT(refused({"w", DType::I32, {4}, DType::F32}), testing::HasSubstr("tensor 'w'"));
  EXPECT_THAT(refused({"w", DType::F32, {33}, DType::Q8_0}), testing::HasSubstr("unsupported: "));
  const std::vector<float> numbers = {1, 2, 1e30F, 3};
  const TensorSpec spec{"w", DType::F16, {4}, DType::F32};
  {
    CheckpointWriter writer(folder / "m.safetensors", std::vector{spec});
    EXPECT_THAT(message_of([&] { writer.write("w", std::as_bytes(std::span(numbers))); }),
                testing::HasSubstr("element 2 is too large for F16"));
    EXPECT_THAT(message_of([&] { writer.commit(); }), testing::HasSubstr("tensors are incomplete"));
  }
  EXPECT_TRUE(folder.names().empty());
  CheckpointWriter writer(folder / "m.safetensors", std::vector{spec}, {.nonfinite = Nonfinite::keep});
  writer.write("w", std::as_bytes(std::span(numbers)));
  EXPECT_THAT(message_of([&] { writer.write_at("w", 4, std::as_bytes(std::span(numbers)).first(1)); }),
              testing::HasSubstr("written twice"));
  writer.commit();
}

TEST(CheckpointWriter, KeepsHalvesOfBlocksWithinItsMemory) {
  const TempFolder folder;
  const TensorSpec spec{"w", DType::Q8_0, {100000, 32}, DType::F32};
  CheckpointWriter writer(folder / "m.gguf", std::vector{spec}, {.memory = 1 << 20});
  const std::vector<std::byte> half(64);
  for (std::uint64_t i = 0; i < 100000; ++i) writer.write_at("w", 1 + i, {});  // nothing is nothing to keep
  const auto by_columns = [&] {
    for (std::uint64_t row = 0; row < 100000; ++row) writer.write_at("w", row * 128, half);
  };
  EXPECT_THAT(message_of(by_columns), testing::AllOf(testing::HasSubstr("budget: "), testing::HasSubstr("by halves")));
}

TEST(CheckpointWriter, DeclaresTensorsLate) {
  const TempFolder folder;
  const auto first = random_bytes("first", DType::F32, {5}, 1), second = random_bytes("second", DType::I64, {3}, 2),
             third = random_floats("third", {2, 32}, 3);
  WriterOptions options{.header_reserve = 150};
  options.metadata.set_string("format", "pt");
  CheckpointWriter writer(folder / "m.safetensors", std::vector{first.spec}, options);
  writer.declare(second.spec);
  writer.write("second", second.bytes);
  writer.write("first", first.bytes);
  EXPECT_THAT(message_of([&] { writer.declare(first.spec); }), testing::HasSubstr("declared twice"));
  writer.declare({"third", DType::BF16, {2, 32}, DType::F32});
  EXPECT_THAT(message_of([&] {
                writer.declare({"a name that takes room", DType::F32, {1}});
              }),
              testing::AllOf(testing::HasSubstr("no room for another tensor"), testing::HasSubstr("expected at most")));
  EXPECT_THAT(message_of([&] { writer.commit(); }), testing::HasSubstr("'third' (0 of 128 bytes)"));
  writer.write("third", third.bytes);
  writer.commit();
  EXPECT_THAT(message_of([&] { writer.declare(second.spec); }), testing::HasSubstr("committed already"));
  const Checkpoint made = Checkpoint::open(folder / "m.safetensors");
  ASSERT_EQ(made.tensors().size(), 3U);
  EXPECT_EQ(made.metadata().find("format")->as_string(), "pt");
  EXPECT_EQ(test::bytes_in(made, *made.find("first")), first.bytes);
  EXPECT_EQ(test::bytes_in(made, *made.find("second")), second.bytes);
  EXPECT_EQ(made.find("third")->dtype, DType::BF16);
}

TEST(CheckpointWriter, StartsWithNoTensorAndGrows) {
  const TempFolder folder;
  CheckpointWriter writer(folder / "m.safetensors", {}, {.header_reserve = 100000});
  std::vector<test::TestTensor> tensors;
  for (unsigned i = 0; i < 500; ++i) {
    tensors.push_back(random_bytes("tensor." + std::to_string(i), DType::F16, {i}, i));
    writer.declare(tensors.back().spec);
    writer.write(tensors.back().spec.name, tensors.back().bytes);
  }
  writer.commit();
  const Checkpoint made = Checkpoint::open(folder / "m.safetensors");
  for (const auto& tensor : tensors) EXPECT_EQ(test::bytes_in(made, *made.find(tensor.spec.name)), tensor.bytes);
}

TEST(CheckpointWriter, OthersCantGrow) {
  const TempFolder folder;
  const std::vector<TensorSpec> specs = {{"a", DType::F32, {4}}};
  CheckpointWriter gguf(folder / "m.gguf", specs), shards(folder / "m.safetensors", specs, {.shard_size = 100});
  EXPECT_THAT(message_of([&] { gguf.declare({"b", DType::F32, {4}}); }), testing::HasSubstr("unsupported: "));
  EXPECT_THAT(message_of([&] { shards.declare({"b", DType::F32, {4}}); }), testing::HasSubstr("unsupported: "));
  const auto refused = [&](const char* name, const WriterOptions& options) {
    return message_of([&] { CheckpointWriter(folder / name, specs, options); });
  };
  EXPECT_THAT(refused("n.gguf", {.header_reserve = 100}), testing::HasSubstr("single safetensors file"));
  EXPECT_THAT(refused("n.safetensors", {.header_reserve = ~0ULL}), testing::HasSubstr("header would be too long"));
  EXPECT_THAT(refused("n.safetensors", {.shard_size = 1, .temporary = "t"}), testing::HasSubstr("no temporary name"));
  EXPECT_THAT(refused("n.safetensors", {.temporary = "../t"}), testing::HasSubstr("not a path"));
  EXPECT_THAT(refused("n.safetensors", {.temporary = std::string("n.safetensors\0t", 15)}),
              testing::HasSubstr("NUL byte"));
  EXPECT_THAT(refused("n.safetensors", {.shard_size = 0}), testing::HasSubstr("hold nothing"));
  EXPECT_THAT(refused("n.safetensors", {.temporary = "n.safetensors"}), testing::HasSubstr("own name"));
}

TEST(CheckpointWriter, HasATemporaryNameWhereAsked) {
  const TempFolder folder;
  const auto tensor = random_bytes("a", DType::F32, {4}, 1);
  const WriterOptions options{.force = true, .temporary = "m.safetensors.tmp"};
  const std::vector<std::string> temporary{"m.safetensors.tmp"}, final{"m.safetensors"};
  test::write_file(folder / "m.safetensors.tmp", "left behind by another");
  {
    CheckpointWriter writer(folder / "m.safetensors", std::vector{tensor.spec}, options);
    EXPECT_EQ(folder.names(), temporary);
  }
  EXPECT_TRUE(folder.names().empty());
  {
    CheckpointWriter writer(folder / "m.safetensors", std::vector{tensor.spec}, options);
    EXPECT_THAT(message_of([&] { writer.leave(); }), testing::HasSubstr("incomplete"));
    writer.write("a", tensor.bytes);
    EXPECT_EQ(writer.leave(), folder / "m.safetensors.tmp");
  }
  EXPECT_EQ(folder.names(), temporary);
  EXPECT_EQ(Checkpoint::open(folder / "m.safetensors.tmp").tensors().size(), 1U);
  CheckpointWriter writer(folder / "m.safetensors", std::vector{tensor.spec}, options);
  writer.write("a", tensor.bytes);
  writer.commit();
  EXPECT_EQ(folder.names(), final);
}

// Two savers of one output: the one whose file was taken away must not pass the other's off as its own.
TEST(CheckpointWriter, DoesntPublishWhatAnotherPutUnderItsTemporaryName) {
  const TempFolder folder;
  const auto tensor = random_bytes("a", DType::F32, {4}, 1);
  const WriterOptions options{.force = true, .temporary = "m.tmp"};
  CheckpointWriter one(folder / "m.safetensors", std::vector{tensor.spec}, options);
  CheckpointWriter two(folder / "m.safetensors", std::vector{tensor.spec}, options);
  one.write("a", tensor.bytes);
  EXPECT_THAT(message_of([&] { one.commit(); }), testing::HasSubstr("conflict: "));
  EXPECT_THAT(message_of([&] { one.commit(); }), testing::HasSubstr("an earlier write or commit failed"));
  EXPECT_EQ(folder.names(), std::vector<std::string>{"m.tmp"});
  CheckpointWriter three(folder / "m.safetensors", std::vector{tensor.spec}, options);
  two.write("a", tensor.bytes);
  EXPECT_THAT(message_of([&] { two.leave(); }), testing::HasSubstr("conflict: "));
  three.write("a", tensor.bytes);
  three.commit();
  EXPECT_EQ(folder.names(), std::vector<std::string>{"m.safetensors"});
}

TEST(CheckpointWriter, CommitsInTheBackground) {
  const TempFolder folder;
  const auto tensor = random_bytes("a", DType::F32, {4}, 1);
  std::future<void> done;
  {
    CheckpointWriter writer(folder / "m.safetensors", std::vector{tensor.spec});
    EXPECT_THAT(message_of([&] { (void)writer.commit_async(); }), testing::HasSubstr("'a' (0 of 16 bytes)"));
    writer.write("a", tensor.bytes);
    done = writer.commit_async();
    EXPECT_THAT(message_of([&] { writer.commit(); }), testing::HasSubstr("committed already"));
    EXPECT_THAT(message_of([&] { writer.write("a", tensor.bytes); }), testing::HasSubstr("committed already"));
  }
  done.get();
  EXPECT_EQ(folder.names(), std::vector<std::string>{"m.safetensors"});
  CheckpointWriter second(folder / "m.safetensors", std::vector{tensor.spec}, {.force = true});
  second.write("a", tensor.bytes);
  std::filesystem::remove(folder / "m.safetensors");
  std::filesystem::create_directory(folder / "m.safetensors");
  EXPECT_THAT(message_of([&] { second.commit_async().get(); }), testing::HasSubstr("m.safetensors"));
}

TEST(CheckpointWriter, DeclaresWhileOthersWrite) {
  const TempFolder folder;
  constexpr unsigned kEach = 50;
  CheckpointWriter writer(folder / "m.safetensors", {}, {.header_reserve = 50000});
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < kEach; ++i) {
        const auto tensor = random_floats(std::to_string(t) + "." + std::to_string(i), {64}, t * kEach + i);
        writer.declare({tensor.spec.name, i % 2 ? DType::BF16 : DType::F32, {64}, DType::F32});
        writer.write_at(tensor.spec.name, 0, std::span(tensor.bytes).first(101));
        writer.write_at(tensor.spec.name, 101, std::span(tensor.bytes).subspan(101));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  writer.commit();
  EXPECT_EQ(Checkpoint::open(folder / "m.safetensors").tensors().size(), 4 * kEach);
}

}  // namespace
}  // namespace headrace
