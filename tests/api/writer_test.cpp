#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

namespace headrace {
namespace {

using test::random_bytes;
using test::TempFolder;

ErrorCode code_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(CheckpointWriter, PartsInAnyOrderFromManyThreads) {
  for (const char* name : {"out.safetensors", "out.gguf"}) {
    const TempFolder folder;
    const auto tensor = random_bytes("w", DType::F16, {1000, 50}, 1);
    CheckpointWriter writer(folder / name, std::vector{tensor.spec});
    std::vector<std::size_t> starts;
    for (std::size_t at = 0; at < tensor.bytes.size(); at += 1000) starts.push_back(at);
    std::shuffle(starts.begin(), starts.end(), std::mt19937(1));
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = t; i < starts.size(); i += 4) {
          writer.write_at("w", starts[i], std::span(tensor.bytes).subspan(starts[i], 1000));
        }
      });
    }
    for (auto& thread : threads) thread.join();
    writer.commit();
    const Checkpoint out = Checkpoint::open(folder / name);
    EXPECT_EQ(test::bytes_in(out, *out.find("w")), tensor.bytes);
    EXPECT_THROW(writer.commit(), Error);
  }
}

TEST(CheckpointWriter, RefusesMistakesAndLeavesNothing) {
  const TempFolder folder;
  const std::vector<TensorSpec> specs = {{"a", DType::F32, {4}}, {"b", DType::F32, {2}}};
  const std::vector<std::byte> bytes(16);
  {
    CheckpointWriter writer(folder / "out.safetensors", specs);
    EXPECT_EQ(code_of([&] { writer.write("c", bytes); }), ErrorCode::invalid_argument);
    EXPECT_EQ(code_of([&] { writer.write("b", bytes); }), ErrorCode::invalid_argument);
    writer.write("a", bytes);
    EXPECT_EQ(code_of([&] { writer.write("a", bytes); }), ErrorCode::invalid_argument);
    EXPECT_EQ(code_of([&] { writer.commit(); }), ErrorCode::invalid_argument);
  }
  EXPECT_TRUE(folder.names().empty());

  const auto refused = [&](const char* name, const std::vector<TensorSpec>& tensors,
                           const WriterOptions& options = {}) {
    return code_of([&] { CheckpointWriter(folder / name, tensors, options); });
  };
  EXPECT_EQ(refused("out", specs), ErrorCode::invalid_argument);
  EXPECT_EQ(refused("out.gguf", {specs[0], specs[0]}), ErrorCode::invalid_argument);
  EXPECT_EQ(refused("out.gguf", {{"a", DType::Q8_0, {33}}}), ErrorCode::invalid_argument);
  EXPECT_EQ(refused("out.gguf", {{"a", DType::F32, {~0ULL, 2}}}), ErrorCode::invalid_argument);
  EXPECT_EQ(refused("out.gguf", {{"a", DType::BOOL, {2}}}), ErrorCode::unsupported);
  EXPECT_EQ(refused("out.safetensors", {{"a", DType::Q8_0, {32}}}), ErrorCode::unsupported);
  EXPECT_TRUE(folder.names().empty());
}

}  // namespace
}  // namespace headrace
