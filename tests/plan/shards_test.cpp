// Shards: where an output is cut, and what its files are called.
#include "plan/shards.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace headrace::plan {
namespace {

std::vector<std::size_t> cut(std::vector<std::uint64_t> sizes, std::uint64_t shard_bytes) {
  std::vector<TensorInfo> tensors(sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) tensors[i].bytes = sizes[i];
  return cut_into_shards(tensors, shard_bytes);
}

using Counts = std::vector<std::size_t>;
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

TEST(Shards, CutBeforeTheTensorThatIsTooMuch) {
  EXPECT_EQ(cut({4, 4, 4, 4}, 8), (Counts{2, 2}));
  EXPECT_EQ(cut({4, 4, 1, 4}, 8), (Counts{2, 2}));
  EXPECT_EQ(cut({5, 4, 1, 4}, 8), (Counts{1, 2, 1}));
  EXPECT_EQ(cut({0, 0, 8, 0, 1}, 8), (Counts{4, 1}));
}

TEST(Shards, ATensorLargerThanAShardHasItsOwn) {
  EXPECT_EQ(cut({1, 100, 1, 1}, 8), (Counts{1, 1, 2}));
  EXPECT_EQ(cut({100, 100}, 8), (Counts{1, 1}));
  EXPECT_EQ(cut({kMost, kMost}, 8), (Counts{1, 1}));
}

TEST(Shards, OneForAllAndOneForNone) {
  EXPECT_EQ(cut({1, 2, 3}, kMost), (Counts{3}));
  EXPECT_EQ(cut({}, 1), (Counts{0}));
}

TEST(Shards, NamesAreTransformersAndLlamaCpps) {
  EXPECT_EQ(shard_path("a/model.safetensors", Format::safetensors, 0, 3), "a/model-00001-of-00003.safetensors");
  EXPECT_EQ(shard_path("model.q8.gguf", Format::gguf, 9, 12), "model.q8-00010-of-00012.gguf");
  EXPECT_EQ(shard_path("MODEL.GGUF", Format::gguf, 0, 2), "MODEL-00001-of-00002.gguf");
  EXPECT_EQ(shard_path("weights.bin", Format::gguf, 0, 2), "weights.bin-00001-of-00002.gguf");
  EXPECT_EQ(index_path("a/model.safetensors"), "a/model.safetensors.index.json");
}

TEST(Shards, TheIndexEscapesNames) {
  std::vector<TensorInfo> tensors(2);
  tensors[0].name = "a\"\\\n";
  tensors[1].name = "b";
  tensors[1].file = 1;
  tensors[0].bytes = 3;
  tensors[1].bytes = 4;
  const std::vector<std::filesystem::path> files{"x/m-1", "x/m-2"};
  EXPECT_EQ(index_of(tensors, files),
            "{\n  \"metadata\": {\n    \"total_size\": 7\n  },\n  \"weight_map\": {\n"
            "    \"a\\\"\\\\\\n\": \"m-1\",\n    \"b\": \"m-2\"\n  }\n}\n");
  EXPECT_EQ(index_of({}, files), "{\n  \"metadata\": {\n    \"total_size\": 0\n  },\n  \"weight_map\": {\n  }\n}\n");
}

TEST(Shards, PartsOfAGgufSayWhichTheyAre) {
  Metadata metadata;
  metadata.set_string("general.name", "x");
  metadata.set_u32("general.alignment", 64);
  const Metadata first = metadata_of_part(metadata, 0, 3, 10), second = metadata_of_part(metadata, 1, 3, 10);
  EXPECT_EQ(first.size(), 5U);
  EXPECT_EQ(second.size(), 4U);
  EXPECT_FALSE(second.find("general.name"));
  EXPECT_EQ(second.find("general.alignment")->as_u64(), 64U);
  EXPECT_EQ(second.find("split.no")->as_u64(), 1U);
  EXPECT_EQ(second.find("split.no")->type(), ValueType::u16);
  EXPECT_EQ(second.find("split.count")->as_u64(), 3U);
  EXPECT_EQ(second.find("split.tensors.count")->as_u64(), 10U);
  EXPECT_EQ(second.find("split.tensors.count")->type(), ValueType::i32);
}

}  // namespace
}  // namespace headrace::plan
