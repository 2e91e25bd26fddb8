// Split GGUF: any part opens the whole set.
#include "format/set/members.hpp"
#include "format/set/set.hpp"
#include "format/set_support.hpp"

#include <gmock/gmock.h>

namespace headrace::test {
namespace {

using format::Contents;
using testing::ElementsAre;

constexpr std::uint32_t kU16 = 2, kI32 = 5, kString = 8, kU32 = 4, kU64 = 10, kF32 = 6, kTypeI8 = 24;

struct Part {
  unsigned number = 0, count = 3;  // as split.no and split.count have them
  int tensors = 3;                 // split.tensors.count
  Names names = {};
  std::size_t alignment = 0;  // 0: not said
  bool wide = false;          // split.no and split.count as u64
  bool says_tensors = true;
};

template <class T>
void add_pair(std::string& pairs, std::uint64_t& count, std::string_view key, std::uint32_t type, T value) {
  pairs += GgufFile(0, 0).pair(key, type, raw(value)).bytes().substr(24);
  ++count;
}

// Tensors of I8 whose bytes are their names.
std::string part_file(const Part& part) {
  std::string pairs;
  std::uint64_t count = 0;
  if (part.wide) {
    add_pair(pairs, count, "split.no", kU64, std::uint64_t{part.number});
    add_pair(pairs, count, "split.count", kU64, std::uint64_t{part.count});
  } else {
    add_pair(pairs, count, "split.no", kU16, static_cast<std::uint16_t>(part.number));
    add_pair(pairs, count, "split.count", kU16, static_cast<std::uint16_t>(part.count));
  }
  if (part.number == 0) {
    pairs += GgufFile(0, 0).string("general.name").add(raw(kString)).string("tiny").bytes().substr(24);
    ++count;
  }
  if (part.says_tensors) add_pair(pairs, count, "split.tensors.count", kI32, std::int32_t{part.tensors});
  if (part.alignment) add_pair(pairs, count, "general.alignment", kU32, static_cast<std::uint32_t>(part.alignment));
  const std::size_t alignment = part.alignment ? part.alignment : 32;
  GgufFile file(part.names.size(), count);
  file.add(pairs);
  std::string data;
  for (const std::string& name : part.names) {
    file.tensor(name, {name.size()}, kTypeI8, data.size());
    data += name;
    data.resize((data.size() + alignment - 1) / alignment * alignment);
  }
  return file.with_data(0, alignment) + data;
}

std::string part_name(unsigned number, unsigned count = 3) {
  return format::set::file_of_part("m", number, count, ".gguf");
}

class Split : public testing::Test {
 protected:
  Split() {
    write(1, {.number = 0, .names = {"a"}});
    write(2, {.number = 1, .names = {"b"}});
    write(3, {.number = 2, .names = {"c"}});
  }
  void write(unsigned number, const Part& part) { write_file(folder / part_name(number), part_file(part)); }
  Contents open(unsigned number, std::uint64_t memory = kRoomy) {
    return open_at(folder / part_name(number), {}, memory);
  }
  // Whatever part is given.
  void expect_broken(const Names& parts, ErrorCode code = ErrorCode::format) {
    for (const unsigned given : {1U, 2U, 3U}) {
      SCOPED_TRACE(given);
      if (std::filesystem::exists(folder / part_name(given))) expect_refused([&] { open(given); }, code, parts);
    }
  }
  TempFolder folder;
};

TEST_F(Split, AnyPartOpensTheSet) {
  for (const unsigned given : {1U, 2U, 3U}) {
    const Contents contents = open(given);
    EXPECT_THAT(names_of(contents), ElementsAre("a", "b", "c"));
    for (const std::string name : {"a", "b", "c"}) EXPECT_EQ(bytes_of(contents, name), name);
    EXPECT_THAT(pairs_of(contents), ElementsAre("general.name=tiny"));  // as in a file that was merged
    EXPECT_EQ(contents.header.format, Format::gguf);
    EXPECT_EQ(contents.header.version, 3u);
    EXPECT_EQ(contents.files.at(2)->name(), folder / part_name(3));
  }
}

TEST_F(Split, NumbersMayHaveAnyIntegerType) {
  write(2, {.number = 1, .names = {"b"}, .wide = true});
  EXPECT_THAT(names_of(open(1)), ElementsAre("a", "b", "c"));
  EXPECT_THAT(names_of(open(2)), ElementsAre("a", "b", "c"));
}

TEST_F(Split, EachPartHasItsOwnAlignment) {
  write(1, {.number = 0, .names = {"a", "aaa"}, .alignment = 8});
  write(2, {.number = 1, .names = {"b", "bb"}, .alignment = 256});
  write(3, {.number = 2, .names = {}});
  for (const unsigned number : {1U, 2U, 3U}) {  // there are four tensors now
    Part part{.number = number - 1, .tensors = 4};
    if (number == 1) part.names = {"a", "aaa"}, part.alignment = 8;
    if (number == 2) part.names = {"b", "bb"}, part.alignment = 256;
    write(number, part);
  }
  const Contents contents = open(2);
  EXPECT_EQ(contents.header.alignment, 8u);
  for (const std::string name : {"a", "aaa", "b", "bb"}) EXPECT_EQ(bytes_of(contents, name), name);
  EXPECT_THAT(pairs_of(contents), ElementsAre("general.name=tiny", "general.alignment=8"));
}

TEST_F(Split, NamesThePartsThatAreMissing) {
  std::filesystem::remove(folder / part_name(2));
  expect_broken({"a file is missing", "expected 3 files", "no 'm-00002-of-00003.gguf'"}, ErrorCode::io);
  std::filesystem::remove(folder / part_name(1));
  expect_broken({"files are missing", "no 'm-00001-of-00003.gguf', 'm-00002-of-00003.gguf'"}, ErrorCode::io);
}

TEST_F(Split, RefusesAPartThatIsThereTwice) {
  write(3, {.number = 1, .names = {"b"}});
  expect_broken({part_name(3), "expected split.no 2, found 1", "part 3 of 3 should be here"});
}

TEST_F(Split, RefusesAPartOfAnotherSet) {
  write(2, {.number = 1, .count = 4, .names = {"b"}});
  for (const unsigned given : {1U, 3U})
    expect_refused([&] { open(given); }, ErrorCode::format, {part_name(2), "expected split.count 3, found 4"});
  expect_refused([&] { open(2); }, ErrorCode::format, {part_name(2), "name doesn't lead to the others", "-of-00004"});
  write_file(folder / part_name(2), GgufFile(0, 0).bytes());
  for (const unsigned given : {1U, 3U})
    expect_refused([&] { open(given); }, ErrorCode::format, {part_name(2), "expected split.count 3, found none"});
}

TEST_F(Split, RefusesAnotherNumberOfTensors) {
  write(3, {.number = 2, .tensors = 4, .names = {"c"}});
  expect_broken({part_name(3), "expected 3 tensors in all, found 4"});
  write(3, {.number = 2, .names = {"c", "d"}});
  expect_broken({"expected 3 tensors in all, found 4"});
}

TEST_F(Split, NeedNotSayHowManyTensorsThereAre) {
  for (const unsigned number : {1U, 2U, 3U})
    write(number, {.number = number - 1, .names = {std::string(number, 'x')}, .says_tensors = false});
  EXPECT_THAT(names_of(open(1)), ElementsAre("x", "xx", "xxx"));
}

TEST_F(Split, RefusesATensorInTwoParts) {
  write(3, {.number = 2, .names = {"a"}});
  expect_broken({"tensor 'a'", part_name(1), part_name(3), "both have it"}, ErrorCode::conflict);
}

TEST_F(Split, RefusesAPartThatIsNoGguf) {
  write_file(folder / part_name(2), named_safetensors({"b"}));
  for (const unsigned given : {1U, 3U})
    expect_refused([&] { open(given); }, ErrorCode::format, {part_name(2), "expected GGUF, found another format"});
}

TEST_F(Split, NeedsANameThatLeadsToTheOthers) {
  for (const std::string name : {"m.gguf", "m-00001-of-00002.gguf", "m-1-of-3.gguf", "m-00000-of-00003.gguf",
                                 "m-00004-of-00003.gguf", "-00001-of-00003.gguf", "m-00001-of-00003.bin", "m"}) {
    SCOPED_TRACE(name);
    write_file(folder / name, part_file({.number = 0, .names = {"a"}}));
    expect_refused([&] { open_at(folder / name); }, ErrorCode::format,
                   {"name doesn't lead to the others", "-of-00003"});
  }
}

TEST_F(Split, RefusesMorePartsThanAnySetHas) {
  write_file(folder / part_name(1, 99'999), part_file({.number = 0, .count = 99'999, .wide = true}));
  expect_refused([&] { open_at(folder / part_name(1, 99'999)); }, ErrorCode::format, {"too many parts", "99999"});
  write_file(folder / part_name(1, 60'000), part_file({.number = 0, .count = 60'000}));
  expect_refused([&] { open_at(folder / part_name(1, 60'000)); }, ErrorCode::io, {"and 59995 more"});
}

TEST_F(Split, OfOnePartIsAFileLikeAnyOther) {
  write_file(folder / "one.gguf", part_file({.number = 0, .count = 1, .tensors = 1, .names = {"a"}}));
  EXPECT_THAT(names_of(open_at(folder / "one.gguf")), ElementsAre("a"));
  std::string pairs = GgufFile(0, 1).pair("split.count", kF32, raw(3.0F)).bytes();
  write_file(folder / "float.gguf", pairs);
  EXPECT_THAT(names_of(open_at(folder / "float.gguf")), ElementsAre());
}

TEST_F(Split, IsReadInLittleMemoryOrNotAtAll) {
  Names names;
  for (int i = 0; i < 10'000; ++i) names.push_back("blk." + std::to_string(i) + ".weight");
  const int total = 3 * static_cast<int>(names.size());
  for (const unsigned number : {1U, 2U, 3U}) {
    Names mine;
    for (const std::string& name : names) mine.push_back(name + std::to_string(number));
    write(number, {.number = number - 1, .tensors = total, .names = mine});
  }
  for (std::uint64_t memory = std::uint64_t{64} << 20; memory > 1000; memory = memory * 3 / 4) {
    try {
      EXPECT_LE(open(3, memory).memory(), memory);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::budget) << error.what();
      EXPECT_LT(memory, std::uint64_t{24} << 20);
    }
  }
}

}  // namespace
}  // namespace headrace::test
