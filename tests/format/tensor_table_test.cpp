#include "format/tensor_table.hpp"

#include "format/printable.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace headrace::format {
namespace {

TEST(TensorTable, FindsEveryNameAndCopiesViews) {
  TensorTable table;
  EXPECT_EQ(table.find("x"), std::nullopt);
  constexpr std::size_t kCount = 20'000;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const std::string name = "model.layers." + std::to_string(i);  // gone before the lookup
    const std::uint64_t shape[] = {i, 2};
    ASSERT_LE(table.memory(), table.memory_while_adding(name.size(), 2));
    const std::size_t allowed = table.memory_while_adding(name.size(), 2);
    ASSERT_TRUE(table.add({.name = name, .shape = shape, .bytes = i}));
    ASSERT_LE(table.memory(), allowed);
  }
  const TensorTable moved = std::move(table);
  for (std::size_t i = 0; i < kCount; ++i) {
    const std::string name = "model.layers." + std::to_string(i);
    ASSERT_EQ(moved.find(name), i);
    EXPECT_EQ(moved.tensors()[i].name, name);
    EXPECT_EQ(moved.tensors()[i].shape[0], i);
  }
  EXPECT_EQ(moved.find("model.layers.20000"), std::nullopt);
}

TEST(TensorTable, RefusesANameTwice) {
  TensorTable table;
  EXPECT_TRUE(table.add({.name = "", .shape = {}}));
  EXPECT_TRUE(table.add({.name = "a", .shape = {}}));
  EXPECT_FALSE(table.add({.name = "", .shape = {}}));
  EXPECT_FALSE(table.add({.name = "a", .shape = {}, .bytes = 1}));
  EXPECT_EQ(table.tensors().size(), 2u);
}

TEST(TensorTable, ReservingTakesWhatItSays) {
  TensorTable table;
  table.reserve(1000);
  EXPECT_EQ(table.memory(), TensorTable::memory_to_reserve(1000));
}

// Names made to share a slot when nobody seeds the hash: each process must scatter them anew.
TEST(TensorTable, CollidingNamesCantBeMade) {
  constexpr std::uint64_t kMask = 1023;
  std::map<std::uint64_t, int> slots;
  int names = 0;
  for (int i = 0; names < 1000; ++i) {
    const std::string name = "blk." + std::to_string(i);
    if ((XXH3_64bits(name.data(), name.size()) & kMask) != 0) continue;
    ++slots[hash_of_name(name) & kMask];
    ++names;
  }
  int fullest = 0;
  for (const auto& [slot, taken] : slots) fullest = std::max(fullest, taken);
  EXPECT_LT(fullest, 20) << "a thousand names over a thousand slots: a handful in the fullest";
}

TEST(Printable, CutsBetweenCharacters) {
  EXPECT_EQ(printable("éééé", 3), "éé…");
  EXPECT_EQ(printable("éé", 4), "éé");
  EXPECT_EQ(first_invalid_utf8("aé\xC3"), 3u);
  EXPECT_EQ(first_invalid_utf8(""), 0u);
}

}  // namespace
}  // namespace headrace::format
