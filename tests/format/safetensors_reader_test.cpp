#include "format/support.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>

namespace headrace::test {
namespace {

using std::string_literals::operator""s;

std::string entry(const std::string& fields) { return "{\"a\":{" + fields + "}}"; }

std::string with_shape(const std::string& shape, const std::string& offsets = "[0,4]") {
  return entry("\"dtype\":\"U8\",\"shape\":" + shape + ",\"data_offsets\":" + offsets);
}

void expect_rejected(const std::string& json, std::string_view part, std::size_t data_bytes = 4) {
  expect_error(safetensors_file(json, data_bytes), ErrorCode::format, part);
}

TEST(SafetensorsReader, GoldenVerdictsHold) {
  const std::string folder = HEADRACE_TEST_DATA "/golden/safetensors-cases/";
  const auto verdicts = nlohmann::json::parse(read_file(folder + "verdicts.json"));
  ASSERT_GE(verdicts.size(), 25u);
  for (const auto& [file, verdict] : verdicts.items()) {
    const std::string bytes = read_file(folder + file);
    const std::optional<Error> error = error_of(bytes);
    EXPECT_EQ(!error.has_value(), verdict.at("expect") == "accept")
        << file << ": " << (error ? error->what() : "accepted");
    if (error) {
      EXPECT_EQ(error->code(), ErrorCode::format) << error->what();
    }
  }
}

TEST(SafetensorsReader, ListsTensorsAndMetadataInTheOrderOfTheJson) {
  const auto header = read_bytes(safetensors_file(
      R"( {"b":{"data_offsets":[2,6],"shape":[2,1],"dtype":"F16"},"__metadata__":{"z":"1","a":"é\n\ud83e\udd99"},)"
      R"("a":{"dtype":"U8","shape":[],"data_offsets":[1,2]},"c\u0000":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}} )",
      6));
  EXPECT_EQ(header.format, Format::safetensors);
  const auto tensors = header.tensors.tensors();
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "b");
  EXPECT_EQ(tensors[0].dtype, DType::F16);
  EXPECT_EQ(to_string(tensors[0].shape), "[2, 1]");
  EXPECT_EQ(tensors[0].offset, header.data_offset + 2);
  EXPECT_EQ(tensors[0].bytes, 4u);
  EXPECT_EQ(tensors[0].elements, 2u);
  EXPECT_EQ(tensors[1].name, "a");
  EXPECT_EQ(tensors[1].elements, 1u);
  EXPECT_TRUE(tensors[1].shape.empty());
  EXPECT_EQ(tensors[2].name, "c\0"s);
  EXPECT_EQ(header.tensors.find("a"), 1u);
  EXPECT_EQ(header.tensors.find("d"), std::nullopt);
  ASSERT_EQ(header.metadata.size(), 2u);
  EXPECT_EQ(header.metadata.key(0), "z");
  EXPECT_EQ(header.metadata.value(1).as_string(), "é\n🦙");
}

TEST(SafetensorsReader, AcceptsOddButValidHeaders) {
  EXPECT_EQ(read_bytes(safetensors_file("{}")).tensors.tensors().size(), 0u);
  EXPECT_EQ(read_bytes(safetensors_file("\t\n {}\r\n   ")).tensors.tensors().size(), 0u);
  EXPECT_EQ(read_bytes(safetensors_file(std::string(500, ' ') + "{}")).tensors.tensors().size(), 0u);
  const auto unknown =
      entry(R"("dtype":"U8","x":{"a":[1,-2.5e+9,true,null,"\u00e9\"\\"]},"x":1e999,"shape":[4],"data_offsets":[0,4])");
  EXPECT_EQ(read_bytes(safetensors_file(unknown, 4)).tensors.tensors().size(), 1u);
  EXPECT_FALSE(error_of(safetensors_file(R"({"__metadata__":{}})")));
  EXPECT_FALSE(error_of(safetensors_file(entry(R"("\u0064type":"U\u0038","shape":[4],"data_offsets":[0,4])"), 4)));
}

TEST(SafetensorsReader, RefusesNumbersThatAreNotPlain) {
  for (const char* number : {"-1", "-0", "1e0", "4.0", "\"4\"", "04", "18446744073709551616", "99999999999999999999999",
                             "true", "null", "[4]", "{}", "+4", "0x4", "4 4", "", "NaN"}) {
    EXPECT_TRUE(error_of(safetensors_file(with_shape("[4,"s + number + "]"), 4))) << number;
    EXPECT_TRUE(error_of(safetensors_file(with_shape("[4]", "[0,"s + number + "]"), 4))) << number;
  }
  expect_rejected(with_shape("[4.0]"), "a dimension is no plain non-negative integer");
  expect_rejected(with_shape("[-0]"), "found '-0'");
  expect_rejected(with_shape("[4]", "[0,4e0]"), "a data offset is no plain non-negative integer");
}

TEST(SafetensorsReader, RefusesMalformedEntries) {
  expect_rejected(with_shape("[4]", "[0]"), "data_offsets has the wrong length");
  expect_rejected(with_shape("[4]", "[0,4,4]"), "data_offsets has the wrong length");
  expect_rejected(with_shape("[4]", "[4,0]"), "ends before it begins");
  expect_rejected(with_shape("4"), "the shape is no JSON array");
  expect_rejected(with_shape("[4]", "{}"), "data_offsets is no JSON array");
  expect_rejected(entry(R"("dtype":"U8","shape":[4])"), "lacks 'data_offsets'");
  expect_rejected(entry(R"("dtype":"U8","data_offsets":[0,4])"), "lacks 'shape'");
  expect_rejected(entry(R"("shape":[4],"data_offsets":[0,4])"), "lacks 'dtype'");
  expect_rejected(entry(R"("dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4])"), "'dtype' is there twice");
  expect_rejected(entry(R"("dtype":"U8","shape":[4],"shap\u0065":[4],"data_offsets":[0,4])"), "'shape' is there twice");
  expect_rejected(entry(R"("dtype":"u8","shape":[4],"data_offsets":[0,4])"), "unknown dtype");
  expect_rejected(entry(R"("dtype":"Q4_0","shape":[4],"data_offsets":[0,4])"), "unknown dtype");
  expect_rejected(entry(R"("dtype":7,"shape":[4],"data_offsets":[0,4])"), "dtype is no string");
  expect_rejected(R"({"a":["U8",[4],[0,4]]})", "the tensor's entry is no JSON object");
  expect_rejected(R"({"a":null})", "the tensor's entry is no JSON object");
  expect_rejected(with_shape("[5]"), "don't fit its dtype and shape");
  expect_rejected(with_shape("[4294967296,4294967296,0]", "[0,0]"), "doesn't fit 64 bits", 0);
  expect_rejected(entry(R"("dtype":"F4","shape":[3],"data_offsets":[0,2])"), "whole number of bytes", 2);
  expect_rejected(entry(R"("dtype":"F6_E2M3","shape":[2],"data_offsets":[0,2])"), "whole number of bytes", 2);
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  expect_rejected(with_shape("[" + ones + "]", "[0,1]"), "too many dimensions", 1);
}

TEST(SafetensorsReader, RefusesRepeatedNames) {
  const std::string one = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  const std::string escaped = R"("\u0061":{"dtype":"U8","shape":[2],"data_offsets":[2,4]})";
  expect_rejected("{" + one + "," + escaped + "}", "two tensors have this name");
  expect_rejected(R"({"__metadata__":{"k":"1","\u006b":"2"}})", "metadata key 'k' is there twice", 0);
  expect_rejected(R"({"__metadata__":{},"__metadata__":null})", "__metadata__ is there twice", 0);
}

TEST(SafetensorsReader, RefusesMetadataThatIsNotStrings) {
  for (const char* value : {"1", "null", "{}", "[]", "true", "[\"a\"]"}) {
    expect_rejected(R"({"__metadata__":{"k":)"s + value + "}}", "a metadata value is no string", 0);
  }
  expect_rejected(R"({"__metadata__":[]})", "__metadata__ is no JSON object", 0);
  expect_rejected(R"({"__metadata__":"x"})", "__metadata__ is no JSON object", 0);
}

TEST(SafetensorsReader, RefusesBrokenJson) {
  for (const char* json : {"{\"a\"}",
                           "{\"a\":}",
                           "{,}",
                           "{\"a\":1,}",
                           "{'a':1}",
                           "{\"a\" 1}",
                           "{\"a\"::1}",
                           "{a:1}",
                           "{}{}",
                           "{}}",
                           "{{}",
                           "{\"a\":{\"b\":1}",
                           "{\"a\":[1}",
                           "{\"a\":{]}",
                           "{\"a\":\"}",
                           "{\"\\\"}",
                           "{\"a\":tru}",
                           "{\"__metadata__\":{\"a\":\"b\"}",
                           "{\"__metadata__\":{\"a\" \"b\"}}",
                           "{\"__metadata__\":nul}",
                           "{\"__metadata__\":nullx}",
                           "{\"__metadata__\":null null}"}) {
    EXPECT_TRUE(error_of(safetensors_file(json))) << json;
  }
  // A colon where a value must end, balanced by a brace too many: content could hide behind it.
  for (
      const char* json :
      {R"({"t":{"shape":[1],"data_offsets":[0,4],"dtype":"F32":"F16","shape":[7]}}})",
       R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":"y":1}},"u":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}})",
       R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1:1}}})",
       R"({"__metadata__":{"a":"b":"c","hidden":"x"}},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       R"({"__metadata__":null:{}},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       R"({"t":{"dtype":"F32","shape":[1:2],"data_offsets":[0,4]}})"}) {
    EXPECT_TRUE(error_of(safetensors_file(json, 4))) << json;
  }
  const auto unknown = [](const std::string& value) {
    return safetensors_file(entry(R"("dtype":"U8","shape":[4],"data_offsets":[0,4],"x":)" + value), 4);
  };
  EXPECT_FALSE(error_of(unknown("[0, -0.5e-3]")));
  for (const char* value :
       {"01",          "1.",       ".5",    "1e",         "-",     "+1",      "tru",         "truee",
        "nul",         "[1,]",     "[1 2]", "{\"a\":1,}", "{1:2}", "\"\\x\"", "\"\\u12g4\"", "\"\\ud800\"",
        "{\"\\q\":1}", "Infinity", "1_0",   "[}",         "{]",    "\"a\"b"}) {
    EXPECT_TRUE(error_of(unknown(value))) << value;
  }
}

TEST(SafetensorsReader, RefusesWhatSurroundsTheJson) {
  const std::string good = with_shape("[4]");
  expect_rejected("\xEF\xBB\xBF" + good, "no JSON object");
  expect_rejected(good + "\0"s, "doesn't end with its object");
  expect_rejected(good + "x", "doesn't end with its object");
  expect_rejected("[]", "no JSON object", 0);
  expect_rejected("\v{}", "no JSON object", 0);
  expect_rejected(std::string(100, ' '), "the header is empty", 0);
}

TEST(SafetensorsReader, RefusesTextThatIsNotUtf8) {
  const auto named = [](const std::string& name) {
    return safetensors_file("{\"" + name + R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4);
  };
  EXPECT_FALSE(error_of(named("\xC3\xA9")));
  EXPECT_FALSE(error_of(named("\xF4\x8F\xBF\xBF")));
  for (const char* bad : {"\xFF", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80",
                          "\xF8\x88\x80\x80\x80"}) {
    const std::optional<Error> error = error_of(named(bad));
    ASSERT_TRUE(error);
    EXPECT_NE(std::string_view(error->what()).find("not valid UTF-8"), std::string_view::npos) << error->what();
    EXPECT_EQ(error->detail().offset, 10u);
  }
  for (const char* bad : {"\x01", "\n", "\t", "\x1F"}) EXPECT_TRUE(error_of(named(bad)));
  EXPECT_TRUE(error_of(named("a\0b"s)));
  EXPECT_FALSE(error_of(named("\x7F")));
}

TEST(SafetensorsReader, RefusesLoneSurrogatesEverywhere) {
  for (const char* text : {"\\ud800", "\\udc00", "\\ud800x", "\\ud800\\n", "\\ud800\\u0041", "\\ud83e\\ud83e",
                           "\\udfff\\ud800", "\\uD800\\uDBFF"}) {
    EXPECT_TRUE(error_of(safetensors_file("{\""s + text + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})")))
        << text;
    EXPECT_TRUE(error_of(safetensors_file(R"({"__metadata__":{"k":")"s + text + "\"}}"))) << text;
  }
}

TEST(SafetensorsReader, RefusesHolesOverlapsAndStrayData) {
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + a +
           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + b + "}}";
  };
  EXPECT_FALSE(error_of(safetensors_file(two("[2,4]", "[0,2]"), 4)));
  expect_rejected(two("[0,2]", "[3,5]"), "a hole", 5);
  expect_rejected(two("[0,2]", "[1,3]"), "overlaps", 3);
  expect_rejected(two("[0,2]", "[0,2]"), "overlaps", 2);
  expect_rejected(two("[0,2]", "[2,4]"), "past the end", 3);
  expect_rejected(two("[0,2]", "[2,4]"), "goes on after", 5);
  expect_rejected("{}", "goes on after", 1);
  expect_rejected(entry(R"("dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615])"),
                  "past the end", 0);
  expect_rejected(entry(R"("dtype":"U8","shape":[0],"data_offsets":[18446744073709551615,18446744073709551615])"),
                  "a hole", 0);
}

TEST(SafetensorsReader, ErrorsSayWhere) {
  const std::string json = R"({"first":{"dtype":"U8","shape":[4,-2],"data_offsets":[0,4]}})";
  const std::optional<Error> error = error_of(safetensors_file(json, 4));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->detail().file, "memory");
  EXPECT_EQ(error->detail().tensor, "first");
  EXPECT_EQ(error->detail().offset, 8 + json.find("-2"));
}

TEST(SafetensorsReader, ChecksTheHeadersLength) {
  expect_error(raw(std::uint64_t{100'000'001}) + "{}", ErrorCode::format, "too long");
  expect_error(raw(std::uint64_t{100'000'000}) + "{}", ErrorCode::format, "past the end of the file");
  expect_error(raw(std::uint64_t{3}) + "{}", ErrorCode::format, "past the end of the file");
  expect_error(raw(UINT64_MAX) + "{}", ErrorCode::format, "too long");
  EXPECT_FALSE(error_of(raw(std::uint64_t{2}) + "{}"));
  EXPECT_TRUE(error_of(raw(std::uint64_t{1}) + "{}"));
  EXPECT_TRUE(error_of(raw(std::uint64_t{0}) + "{}"));
}

TEST(SafetensorsReader, NestingIsCapped) {
  const auto nested = [](std::size_t levels) {
    return entry(R"("dtype":"U8","shape":[4],"data_offsets":[0,4],"x":)" + std::string(levels, '[') +
                 std::string(levels, ']'));
  };
  EXPECT_FALSE(error_of(safetensors_file(nested(125), 4)));  // the object of all and the tensor's own make 127
  expect_rejected(nested(126), "nested too deeply");
  expect_rejected(nested(1'000'000), "nested too deeply");
  std::string objects;
  for (int i = 0; i < 10'000; ++i) objects += "{\"a\":";
  expect_rejected(entry(R"("x":)" + objects + "1" + std::string(10'000, '}')), "nested too deeply");
}

TEST(SafetensorsReader, EveryTruncationAndEveryChangedByteIsHandled) {
  const std::string good = safetensors_file(
      R"({"__metadata__":{"k":"v\n"},"a":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},"b":{"x":[1,{"y":null}],"dtype":"U8","shape":[],"data_offsets":[4,5]}})",
      5);
  ASSERT_FALSE(error_of(good));
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_TRUE(error_of(good.substr(0, size))) << size;
  std::size_t refused = 0;
  for (std::size_t at = 0; at < good.size() - 5; ++at) {
    for (const char c : {'\0', '"', '{', '}', '[', ']', ',', ':', '\\', '0', '-', '\xFF'}) {
      std::string changed = good;
      changed[at] = c;
      refused += error_of(changed) ? 1 : 0;
    }
  }
  EXPECT_GT(refused, (good.size() - 5) * 9);  // nearly every change breaks it; none may do worse
}

TEST(SafetensorsReader, TightMemoryIsRefusedBeforeItIsTaken) {
  std::string json = "{";
  for (int i = 0; i < 5000; ++i) {
    json += (i > 0 ? ",\"t" : "\"t") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  const std::string bytes = safetensors_file(json + "}");
  EXPECT_FALSE(error_of(bytes));
  for (std::uint64_t memory = 0; memory < 8 * bytes.size(); memory += bytes.size() / 2) {
    const std::optional<Error> error = error_of(bytes, memory);
    if (error) {
      EXPECT_EQ(error->code(), ErrorCode::budget) << error->what();
    }
    if (memory < 5 * bytes.size()) {
      EXPECT_TRUE(error) << memory;
    }
  }
}

}  // namespace
}  // namespace headrace::test
