// Shards with an index: each tensor where the index says, and nowhere else.
#include "format/set/index.hpp"
#include "format/set/members.hpp"
#include "format/set/set.hpp"
#include "format/set_support.hpp"

#include <nlohmann/json.hpp>

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace headrace::test {
namespace {

using format::Contents;
using testing::ElementsAre;

constexpr const char* kIndex = "model.safetensors.index.json";

TEST(Index, JoinsItsShardsInTheOrderOfTheirNames) {
  const TempFolder folder;
  write_file(folder / "b.safetensors", named_safetensors({"x", "w"}, R"({"format":"pt","same":"1","mine":"b"})"));
  write_file(folder / "a.safetensors", named_safetensors({"z", "y"}, R"({"format":"pt","mine":"a","more":"2"})"));
  write_file(
      folder / kIndex,
      index_of({{"x", "b.safetensors"}, {"y", "a.safetensors"}, {"z", "a.safetensors"}, {"w", "b.safetensors"}}));
  const Contents contents = open_at(folder / kIndex);
  EXPECT_THAT(names_of(contents), ElementsAre("z", "y", "x", "w"));
  for (const std::string name : {"x", "y", "z", "w"}) EXPECT_EQ(bytes_of(contents, name), name);
  ASSERT_EQ(contents.files.size(), 2u);
  EXPECT_EQ(contents.files[0]->name(), folder / "a.safetensors");
  EXPECT_EQ(contents.header.format, Format::safetensors);
  EXPECT_EQ(contents.header.data_offset, 0u);
  // Shards of one model: what one says holds, but not what they disagree on. The index's own metadata is of the set.
  EXPECT_THAT(pairs_of(contents), ElementsAre("format=pt", "more=2", "same=1"));
}

TEST(Index, FindsShardsInFoldersBesideIt) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "sub");
  write_file(folder / "sub" / "a.safetensors", named_safetensors({"x"}));
  write_file(folder / kIndex, index_of({{"x", "sub/a.safetensors"}}));
  EXPECT_EQ(bytes_of(open_at(folder / kIndex), "x"), "x");
}

TEST(Index, MayHaveOtherFieldsAndAWrongSize) {
  const TempFolder folder;
  write_file(folder / "a.safetensors", named_safetensors({"x"}));
  write_file(folder / kIndex, R"({"a":[{}],"weight_map":{"x":"a.safetensors"},"metadata":{"total_size":-9}})");
  EXPECT_THAT(names_of(open_at(folder / kIndex)), ElementsAre("x"));
}

class IndexOfTwo : public testing::Test {
 protected:
  IndexOfTwo() {
    write_file(folder / "a.safetensors", named_safetensors({"x", "y"}));
    write_file(folder / "b.safetensors", named_safetensors({"z"}));
  }
  void expect_refused_with(const std::vector<std::pair<std::string, std::string>>& places, ErrorCode code,
                           const Names& parts) {
    write_file(folder / kIndex, index_of(places));
    expect_refused([&] { open_at(folder / kIndex); }, code, parts);
  }
  TempFolder folder;
  const std::string a = "a.safetensors", b = "b.safetensors";
};

TEST_F(IndexOfTwo, RefusesATensorThatNoShardHas) {
  expect_refused_with({{"x", a}, {"y", a}, {"z", b}, {"gone", b}}, ErrorCode::format,
                      {"tensor 'gone'", "lack tensors that the index lists", "'gone' in 'b.safetensors'"});
  expect_refused_with({{"1", a}, {"x", a}, {"2", b}, {"3", b}, {"4", b}, {"5", b}, {"y", a}, {"z", b}},
                      ErrorCode::format, {"'1', '2', '3', '4' and 1 more, the first in 'a.safetensors'"});
}

TEST_F(IndexOfTwo, RefusesATensorThatItDoesntList) {
  expect_refused_with({{"x", a}, {"z", b}}, ErrorCode::format,
                      {"tensor 'y'", "doesn't list", "'y' in '" + (folder / a).string()});
}

TEST_F(IndexOfTwo, RefusesATensorInAnotherShard) {
  expect_refused_with({{"x", a}, {"y", b}, {"z", b}}, ErrorCode::format,
                      {"tensor 'y'", "expected 'b.safetensors', found 'a.safetensors'"});
}

TEST_F(IndexOfTwo, RefusesATensorInTwoShards) {
  write_file(folder / b, named_safetensors({"z", "x"}));
  expect_refused_with({{"x", a}, {"y", a}, {"z", b}}, ErrorCode::format, {"tensor 'x'", "'b.safetensors'"});
}

TEST_F(IndexOfTwo, ListsTheShardsThatAreMissing) {
  expect_refused_with({{"x", a}, {"y", a}, {"z", b}, {"v", "d.safetensors"}, {"w", "c.safetensors"}}, ErrorCode::io,
                      {"files are missing", "expected 4 files", "no 'c.safetensors', 'd.safetensors'"});
}

TEST_F(IndexOfTwo, RefusesAShardThatIsASet) {
  write_file(folder / "i.json", index_of({{"x", a}}));
  expect_refused_with({{"x", "i.json"}}, ErrorCode::format, {"i.json", "can't be a shard"});
  expect_refused_with({{"x", kIndex}}, ErrorCode::format, {"can't be a shard"});
  std::filesystem::create_directory(folder / "folder");
  expect_refused_with({{"x", "folder"}}, ErrorCode::io, {"found a folder"});
  expect_refused_with({{"x", "."}}, ErrorCode::io, {"found a folder"});
}

TEST_F(IndexOfTwo, RefusesShardsElsewhere) {
  for (const std::string file :
       {"../a.safetensors", "/etc/passwd", "https://example.org/a", "", "a/../../a", "..\\\\a"})
    expect_refused_with({{"x", file}}, ErrorCode::format, {"tensor 'x'", "isn't beside it"});
  write_file(folder / "..a", named_safetensors({"x"}));
  write_file(folder / kIndex, index_of({{"x", "./..a"}}));
  EXPECT_EQ(bytes_of(open_at(folder / kIndex), "x"), "x");  // two dots that are a name's
}

// A bare name beside an index that is opened by a bare name, too.
TEST_F(IndexOfTwo, DoesNotTakeADashForTheStandardInput) {
  const io::Location dash = io::Location("-index.json").beside("-");
  EXPECT_EQ(dash.place(), io::Place::path);
  EXPECT_EQ(dash.path(), "-");
}

TEST_F(IndexOfTwo, IsReadInLittleMemoryOrNotAtAll) {
  Names names;
  std::vector<std::pair<std::string, std::string>> places;
  for (int i = 0; i < 20'000; ++i) names.push_back("model.layers." + std::to_string(i) + ".weight");
  for (const std::string& name : names) places.emplace_back(name, a);
  write_file(folder / a, named_safetensors(names));
  write_file(folder / kIndex, index_of(places));
  for (std::uint64_t memory = std::uint64_t{64} << 20; memory > 0; memory = memory * 3 / 4) {
    try {
      EXPECT_LE(open_at(folder / kIndex, {}, memory).memory(), memory);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::budget) << error.what();
      EXPECT_LT(memory, std::uint64_t{40} << 20);
    }
  }
}

// As the index says where each tensor is, so many shards: opened by many threads, joined in their order.
class ManyShards : public testing::TestWithParam<unsigned> {
 protected:
  static constexpr std::size_t kShards = 200;
  static constexpr std::uint64_t kPlenty = std::uint64_t{1} << 30;  // so that many wait at once
  static std::string file(std::size_t i) { return "shard-" + std::to_string(1000 + i); }

  ManyShards() {
    std::vector<std::pair<std::string, std::string>> places;
    for (std::size_t i = 0; i < kShards; ++i) places.emplace_back("t" + std::to_string(i), file(kShards - 1 - i));
    text = index_of(places);
  }
  Contents join(std::uint64_t memory, const format::set::OpenShard& open) const {
    const format::JsonDocument document(MemorySource(text, "index"), kRoomy);
    const format::set::WeightMap map(document, kRoomy);
    return format::set::join_shards(map, memory, 0, GetParam(), open);
  }
  // Or until it is clear that it won't come.
  static void wait_until(const std::function<bool()>& come) {
    for (int i = 0; i < 10'000 && !come(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  static Contents shard(const std::string& file, std::uint64_t memory) {
    const std::string name = "t" + std::to_string(kShards - 1 - (std::stoul(file.substr(6)) - 1000));
    Contents contents;
    const auto source = std::make_shared<MemorySource>(named_safetensors({name}), file);
    contents.header = format::read_header(*source, memory);
    contents.files.push_back(source);
    return contents;
  }
  std::string text;
};

TEST_P(ManyShards, ComeInOrder) {
  std::atomic<unsigned> now = 0, most = 0;
  const Contents contents = join(kPlenty, [&](const std::string& name, std::uint64_t memory) {
    const unsigned mine = ++now;
    for (unsigned seen = most; seen < mine && !most.compare_exchange_weak(seen, mine);) {
    }
    if (GetParam() > 1 && (name == file(1) || name == file(2))) wait_until([&] { return most > 1; });
    Contents opened = shard(name, memory);
    --now;
    return opened;
  });
  EXPECT_LE(most, GetParam());
  EXPECT_EQ(most > 1, GetParam() > 1);
  ASSERT_EQ(contents.files.size(), kShards);
  for (std::size_t i = 0; i < kShards; ++i) {
    EXPECT_EQ(contents.files[i]->name(), file(i));
    EXPECT_EQ(bytes_of(contents, "t" + std::to_string(i)), "t" + std::to_string(i));
  }
}

TEST_P(ManyShards, OfManyFailuresTheFirstIsTold) {
  for (int run = 0; run < 20; ++run) {
    expect_refused(
        [&] {
          join(kPlenty, [&](const std::string& name, std::uint64_t memory) {
            if (name >= file(37)) throw Error(ErrorCode::io, "broken", {.file = name});
            return shard(name, memory);
          });
        },
        ErrorCode::io, {file(37)});
  }
}

// A shard that doesn't fit its share of the memory is opened again, alone.
TEST_P(ManyShards, NeedNotFitTheirShareOfMemory) {
  constexpr std::uint64_t kNeeded = kPlenty / 2;
  std::atomic<unsigned> refused = 0;
  const Contents contents = join(kPlenty, [&](const std::string& name, std::uint64_t memory) {
    if (name == file(50) && memory < kNeeded) {
      ++refused;
      throw Error(ErrorCode::budget, "too little", {.file = name});
    }
    return shard(name, memory);
  });
  EXPECT_EQ(refused, GetParam() == 1 ? 0 : 1);
  EXPECT_EQ(contents.files.size(), kShards);
}

TEST_P(ManyShards, StopWhenMemoryIsOut) {
  expect_refused([&] { join(std::uint64_t{96} << 10, shard); }, ErrorCode::budget, {"--memory"});
}

INSTANTIATE_TEST_SUITE_P(AtOnce, ManyShards, testing::Values(1U, 2U, 8U, 64U));

TEST(Index, IsToldByItsMap) {
  const auto is_index = [](const std::string& text) {
    return format::set::is_index(format::JsonDocument(MemorySource(text), kRoomy));
  };
  EXPECT_TRUE(is_index(R"({"weight_map":{}})"));
  EXPECT_TRUE(is_index(R"({"weight_map":1})"));  // and then refused as one
  EXPECT_FALSE(is_index("{}"));
  EXPECT_FALSE(is_index(R"([{"weight_map":{}}])"));
}

// Hostile indexes (tests/data/bad/index, made by make.py there) beside two good shards.
TEST(BadIndexes, AreRefusedForTheirReason) {
  const std::filesystem::path folder = HEADRACE_TEST_DATA "/bad/index";
  const auto reasons = nlohmann::json::parse(read_file((folder / "reasons.json").string()));
  EXPECT_GE(reasons.size(), 30u);
  for (const auto& item : reasons.items()) {
    const std::string& file = item.key();
    const nlohmann::json& expected = item.value();
    SCOPED_TRACE(file);
    for (const std::uint64_t memory : {kRoomy, std::uint64_t{1} << 20}) {
      const auto error = error_when([&] { open_at(folder / file, {}, memory); });
      ASSERT_TRUE(error) << "accepted, but: " << expected.at("reason");
      EXPECT_EQ(to_string(error->code()), expected.value("code", "format")) << error->what();
      EXPECT_NE(std::string_view(error->what()).find(expected.at("error").get<std::string>()), std::string_view::npos)
          << error->what();
      EXPECT_EQ(error->detail().file, folder / expected.value("file", file)) << error->what();
      EXPECT_EQ(error->detail().tensor, expected.value("tensor", "")) << error->what();
    }
  }
}

TEST(BadIndexes, CutAnywhereAreHandled) {
  const std::filesystem::path folder = HEADRACE_TEST_DATA "/bad/index";
  const auto open = [&](const std::string& file, std::uint64_t memory) {
    Contents contents;
    const auto source = std::make_shared<MemorySource>(read_file((folder / file).string()), file);
    contents.header = format::read_header(*source, memory);
    contents.files.push_back(source);
    return contents;
  };
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.path().filename().string().ends_with(".index.json")) continue;
    const std::string bytes = read_file(entry.path().string());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto error = error_when([&] {
        const format::JsonDocument document(MemorySource(bytes.substr(0, size), "index"), kRoomy);
        ASSERT_TRUE(format::set::is_index(document)) << bytes.substr(0, size);
        format::set::join_shards(format::set::WeightMap(document, kRoomy), kRoomy, 0, 1, open);
      });
      const bool was_too_long = entry.path().filename().string().starts_with("text_after");
      EXPECT_TRUE(error || was_too_long) << bytes.substr(0, size);  // nothing is whole before its last brace
    }
  }
}

}  // namespace
}  // namespace headrace::test
