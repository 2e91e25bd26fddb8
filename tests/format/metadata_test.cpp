#include <headrace/error.hpp>
#include <headrace/metadata.hpp>

#include "support/memory_source.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

namespace headrace {
namespace {

using std::string_literals::operator""s;
using test::raw;

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

template <class T>
std::string shown(ValueType type, T number) {
  const std::string own = raw(number);
  return MetadataValue(type, bytes(own)).to_string();
}

TEST(Metadata, KeepsPairsInOrderAndReplacesInPlace) {
  Metadata metadata;
  metadata.set_string("a", "one");
  metadata.set_u32("b", 2);
  metadata.set_i32_array("c", std::vector<std::int32_t>{3, -4});
  metadata.set_string("a", "a longer text than before");
  ASSERT_EQ(metadata.size(), 3u);
  EXPECT_EQ(metadata.key(0), "a");
  EXPECT_EQ(metadata.value(0).as_string(), "a longer text than before");
  EXPECT_EQ(metadata.find("b")->as_u64(), 2u);
  EXPECT_EQ(metadata.find("c")->as_i32_array(), (std::vector<std::int32_t>{3, -4}));
  metadata.set_u32("a", 1);
  EXPECT_EQ(metadata.key(1), "b");
  EXPECT_EQ(metadata.find("a")->as_u64(), 1u);
  EXPECT_EQ(metadata.find("b")->as_u64(), 2u);
  EXPECT_EQ(metadata.find("c")->element_count(), 2u);
  EXPECT_FALSE(metadata.find("d"));
}

TEST(Metadata, ErasesWithoutDisturbingTheRest) {
  Metadata metadata;
  for (const char* key : {"a", "bb", "ccc"}) metadata.set_string(key, key);
  metadata.erase("bb");
  metadata.erase("not there");
  ASSERT_EQ(metadata.size(), 2u);
  EXPECT_EQ(metadata.value(0).as_string(), "a");
  EXPECT_EQ(metadata.key(1), "ccc");
  EXPECT_EQ(metadata.value(1).as_string(), "ccc");
  metadata.set_string("bb", "again");
  EXPECT_EQ(metadata.value(2).as_string(), "again");
}

TEST(Metadata, TakesViewsIntoItself) {
  Metadata metadata;
  metadata.set_string("key", std::string(1000, 'x'));
  for (int i = 0; i < 20; ++i) {
    const MetadataValue value = metadata.value(0);
    metadata.set("copy" + std::to_string(i), value.type(), value.bytes());
  }
  metadata.set(metadata.key(3), ValueType::string, metadata.value(0).bytes());
  EXPECT_EQ(metadata.value(20).as_string(), std::string(1000, 'x'));
  EXPECT_EQ(metadata.size(), 21u);
}

TEST(Metadata, RefusesMalformedValues) {
  Metadata metadata;
  const auto refused = [&](ValueType type, const std::string& value) {
    EXPECT_THROW(metadata.set("k", type, bytes(value)), Error);
  };
  refused(ValueType::u32, "abc");
  refused(ValueType::u32, "abcde");
  refused(ValueType::string, "abc");
  refused(ValueType::string, raw(std::uint64_t{2}) + "a");
  refused(ValueType::string, raw(std::uint64_t{2}) + "abc");
  refused(ValueType::array, raw(4u) + raw(std::uint64_t{2}) + raw(1u));
  refused(ValueType::array, raw(4u) + raw(UINT64_MAX));
  refused(ValueType::array, raw(8u) + raw(UINT64_MAX));
  refused(ValueType::array, raw(13u) + raw(std::uint64_t{0}));
  refused(static_cast<ValueType>(13), "");
  EXPECT_THROW(metadata.set("", ValueType::u8, bytes("a")), Error);
  EXPECT_TRUE(metadata.empty());
}

TEST(MetadataValue, NumbersThatFit) {
  const auto number = [](ValueType type, const std::string& own) { return MetadataValue(type, bytes(own)).as_u64(); };
  EXPECT_EQ(number(ValueType::u8, "\xFF"), 255u);
  EXPECT_EQ(number(ValueType::i8, "\x7F"), 127u);
  EXPECT_EQ(number(ValueType::i8, "\xFF"), std::nullopt);
  EXPECT_EQ(number(ValueType::u16, raw(std::uint16_t{65535})), 65535u);
  EXPECT_EQ(number(ValueType::i16, raw(std::int16_t{-1})), std::nullopt);
  EXPECT_EQ(number(ValueType::i32, raw(5)), 5u);
  EXPECT_EQ(number(ValueType::u64, raw(UINT64_MAX)), UINT64_MAX);
  EXPECT_EQ(number(ValueType::i64, raw(INT64_MIN)), std::nullopt);
  EXPECT_EQ(number(ValueType::i64, raw(INT64_MAX)), static_cast<std::uint64_t>(INT64_MAX));
  EXPECT_EQ(number(ValueType::boolean, "\x02"), 1u);
  EXPECT_EQ(number(ValueType::boolean, "\0"s), 0u);
  EXPECT_EQ(number(ValueType::f32, raw(1.0f)), std::nullopt);
  EXPECT_EQ(number(ValueType::string, raw(std::uint64_t{0})), std::nullopt);
  EXPECT_EQ(number(ValueType::u32, "abc"), std::nullopt);
}

TEST(MetadataValue, ShowsNumbersInTheirShortestForm) {
  EXPECT_EQ(shown(ValueType::u8, std::uint8_t{65}), "65");
  EXPECT_EQ(shown(ValueType::i8, std::int8_t{-1}), "-1");
  EXPECT_EQ(shown(ValueType::u16, std::uint16_t{65535}), "65535");
  EXPECT_EQ(shown(ValueType::i16, std::int16_t{-32768}), "-32768");
  EXPECT_EQ(shown(ValueType::u32, 4294967295u), "4294967295");
  EXPECT_EQ(shown(ValueType::i32, -7), "-7");
  EXPECT_EQ(shown(ValueType::u64, UINT64_MAX), "18446744073709551615");
  EXPECT_EQ(shown(ValueType::i64, INT64_MIN), "-9223372036854775808");
  EXPECT_EQ(shown(ValueType::f32, 0.1f), "0.1");
  EXPECT_EQ(shown(ValueType::f64, 1e-5), "1e-05");
  EXPECT_EQ(shown(ValueType::f32, std::numeric_limits<float>::infinity()), "inf");
  EXPECT_EQ(shown(ValueType::boolean, std::uint8_t{1}), "true");
}

TEST(MetadataValue, ShowsTextThatCantDriveATerminal) {
  const auto text = [](std::string_view value) {
    Metadata metadata;
    metadata.set_string("k", value);
    return metadata.value(0).to_string();
  };
  EXPECT_EQ(text("hello é"), "\"hello é\"");
  EXPECT_EQ(text("\x1B[2J"), "\"\\u001b[2J\"");
  EXPECT_EQ(text("a\nb\t\"c\""), "\"a\\nb\\t\\\"c\\\"\"");
  EXPECT_EQ(text("\xC2\x9B\x7F\xE2\x80\xAE"), "\"\\u009b\\u007f\\u202e\"");
  EXPECT_EQ(text("\xFF\xC0"), "\"\\xff\\xc0\"");
  EXPECT_EQ(text(std::string(81, 'x')), "\"" + std::string(80, 'x') + "…\"");
  EXPECT_EQ(text(std::string(80, 'x')), "\"" + std::string(80, 'x') + "\"");
}

TEST(MetadataValue, ShowsTheStartOfArrays) {
  Metadata metadata;
  metadata.set_i32_array("few", std::vector<std::int32_t>{1, 2, 3});
  metadata.set_i32_array("many", std::vector<std::int32_t>(32000, 7));
  metadata.set_i32_array("none", {});
  EXPECT_EQ(metadata.value(0).to_string(), "[1, 2, 3]");
  EXPECT_EQ(metadata.value(1).to_string(3), "[7, 7, 7, … 32000 of i32]");
  EXPECT_EQ(metadata.value(1).to_string(0), "[… 32000 of i32]");
  EXPECT_EQ(metadata.value(2).to_string(), "[]");
  const std::string inner = raw(8u) + raw(std::uint64_t{1}) + raw(std::uint64_t{2}) + "hi";
  const std::string outer = raw(9u) + raw(std::uint64_t{2}) + inner + inner;
  metadata.set("nested", ValueType::array, bytes(outer));
  EXPECT_EQ(metadata.find("nested")->to_string(), "[[\"hi\"], [\"hi\"]]");
}

TEST(MetadataValue, MalformedViewsAreHarmless) {
  const std::string cut = raw(8u) + raw(std::uint64_t{5}) + raw(std::uint64_t{100}) + "x";
  for (std::size_t size = 0; size <= cut.size(); ++size) {
    const auto view = bytes(cut).first(size);
    EXPECT_NE(MetadataValue(ValueType::array, view).to_string().find("(malformed)"), std::string::npos);
    EXPECT_EQ(MetadataValue(ValueType::array, view).as_i32_array(), std::nullopt);
    EXPECT_EQ(MetadataValue(ValueType::string, view).as_string(), std::nullopt);
  }
}

TEST(ValueType, NamesAndSizes) {
  EXPECT_EQ(name(ValueType::boolean), "bool");
  EXPECT_EQ(name(ValueType::array), "array");
  EXPECT_EQ(size_of(ValueType::string), 0u);
  EXPECT_EQ(size_of(ValueType::i16), 2u);
  EXPECT_EQ(size_of(ValueType::f64), 8u);
  EXPECT_EQ(name(static_cast<ValueType>(99)), "unknown");
}

}  // namespace
}  // namespace headrace
