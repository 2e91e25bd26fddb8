#include "format/support.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>

namespace headrace::test {
namespace {

using std::string_literals::operator""s;

enum : std::uint32_t { kU8 = 0, kU32 = 4, kI32 = 5, kBool = 7, kString = 8, kArray = 9 };

std::string text(std::string_view value) { return raw(std::uint64_t{value.size()}) + std::string(value); }
std::string array(std::uint32_t type, std::uint64_t count, std::string_view elements = {}) {
  return raw(type) + raw(count) + std::string(elements);
}

void expect_rejected(const std::string& bytes, std::string_view part) { expect_error(bytes, ErrorCode::format, part); }

std::string one_tensor(const std::vector<std::uint64_t>& dims, std::uint32_t type, std::size_t data_bytes) {
  return GgufFile(1, 0).tensor("a", dims, type, 0).with_data(data_bytes);
}

TEST(GgufReader, GoldenVerdictsHold) {
  const std::string folder = HEADRACE_TEST_DATA "/golden/gguf-cases/";
  const auto verdicts = nlohmann::json::parse(read_file(folder + "verdicts.json"));
  ASSERT_GE(verdicts.size(), 7u);
  for (const auto& [file, verdict] : verdicts.items()) {
    const std::optional<Error> error = error_of(read_file(folder + file));
    EXPECT_EQ(!error.has_value(), verdict.at("expect") == "accept")
        << file << ": " << (error ? error->what() : "accepted");
  }
}

TEST(GgufReader, GoldenInvalidSamplesAreRefused) {
  std::size_t files = 0;
  for (const auto& file : std::filesystem::directory_iterator(HEADRACE_TEST_DATA "/golden/gguf-samples/invalid")) {
    expect_rejected(read_file(file.path()), "doesn't begin where the one before it ends");
    ++files;
  }
  EXPECT_EQ(files, 2u);
}

// ggml's short names of value types, as the list of expectations spells them.
std::string_view spelled(ValueType type) {
  return type == ValueType::string ? "str" : type == ValueType::array ? "arr" : name(type);
}

std::string hex_of(std::span<const std::byte> bytes) {
  std::string hex;
  for (const std::byte byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[std::to_integer<unsigned>(byte) >> 4];
    hex += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return hex;
}

void expect_pair(const Metadata& metadata, std::size_t i, const nlohmann::json& expected) {
  const MetadataValue value = metadata.value(i);
  EXPECT_EQ(metadata.key(i), expected.at("key").get<std::string>());
  ASSERT_EQ(spelled(value.type()), expected.at("type").get<std::string>()) << metadata.key(i);
  if (value.type() == ValueType::string) {
    EXPECT_EQ(hex_of(value.bytes().subspan(8)), expected.at("hex")) << metadata.key(i);
    ASSERT_TRUE(value.as_string());
    EXPECT_EQ(*value.as_string(), expected.at("value").get<std::string>());
  } else if (value.type() == ValueType::array) {
    EXPECT_EQ(spelled(value.element_type()), expected.at("elem").get<std::string>()) << metadata.key(i);
    EXPECT_EQ(value.element_count(), expected.at("n")) << metadata.key(i);
    if (expected.contains("hex")) {
      EXPECT_EQ(hex_of(value.bytes().subspan(12)), expected.at("hex")) << metadata.key(i);
    } else {
      std::string elements;
      for (const auto& element : expected.at("values")) elements += text(element.get<std::string>());
      EXPECT_EQ(hex_of(value.bytes().subspan(12)), hex_of(std::as_bytes(std::span(elements)))) << metadata.key(i);
    }
  } else {
    EXPECT_EQ(hex_of(value.bytes()), expected.at("hex")) << metadata.key(i);
  }
}

void expect_tensor(const TensorInfo& tensor, const nlohmann::json& expected) {
  EXPECT_EQ(tensor.name, expected.at("name").get<std::string>());
  EXPECT_EQ(info(tensor.dtype).ggml_name, expected.at("type").get<std::string>()) << tensor.name;
  const std::vector<std::uint64_t> dims(tensor.shape.rbegin(), tensor.shape.rend());
  EXPECT_EQ(dims, expected.at("dims").get<std::vector<std::uint64_t>>()) << tensor.name;
  EXPECT_EQ(tensor.bytes, expected.at("nbytes")) << tensor.name;
  EXPECT_EQ(tensor.offset, expected.at("file_offset")) << tensor.name;
}

TEST(GgufReader, GoldenSamplesReadAsTheyWereWritten) {
  const std::string folder = HEADRACE_TEST_DATA "/golden/gguf-samples/";
  const auto expected = nlohmann::json::parse(read_file(folder + "expected.json"));
  for (const auto& file : expected.at("files")) {
    const std::string file_name = file.at("file");
    SCOPED_TRACE(file_name);
    const auto header = read_bytes(read_file(folder + file_name));
    EXPECT_EQ(header.format, Format::gguf);
    EXPECT_EQ(header.version, file.at("version"));
    EXPECT_EQ(header.alignment, file.at("alignment"));
    EXPECT_EQ(header.data_offset, file.at("data_offset"));
    ASSERT_EQ(header.metadata.size(), file.at("n_kv"));
    for (std::size_t i = 0; i < header.metadata.size(); ++i) expect_pair(header.metadata, i, file.at("kv").at(i));
    ASSERT_EQ(header.tensors.tensors().size(), file.at("n_tensors"));
    for (std::size_t i = 0; i < header.tensors.tensors().size(); ++i) {
      expect_tensor(header.tensors.tensors()[i], file.at("tensors").at(i));
    }
  }
}

TEST(GgufReader, Versions) {
  const auto of_version = [](std::uint32_t version) { return GgufFile(0, 0, version).with_data(0); };
  EXPECT_EQ(read_bytes(of_version(2)).version, 2u);
  EXPECT_EQ(read_bytes(of_version(3)).version, 3u);
  expect_error(of_version(0), ErrorCode::format, "version is 0");
  expect_error(of_version(1), ErrorCode::unsupported, "obsolete");
  expect_error(of_version(4), ErrorCode::unsupported, "newer");
  expect_error(of_version(0x01000000), ErrorCode::unsupported, "obsolete");  // in the other byte order
  expect_error(of_version(0x04000000), ErrorCode::unsupported, "newer");
  expect_error(of_version(0x00020000), ErrorCode::unsupported, "newer");  // 512 there
}

TEST(GgufReader, CountsAreCheckedAgainstTheFile) {
  for (const std::uint64_t count :
       {std::uint64_t{1} << 20, std::uint64_t{1} << 32, std::uint64_t{1} << 60, std::uint64_t{1} << 63, UINT64_MAX}) {
    expect_rejected(GgufFile(count, 0).with_data(64), "too short for its number of tensors");
    expect_rejected(GgufFile(0, count).with_data(64), "too short for its number of metadata pairs");
    expect_rejected(GgufFile(0, 1).string("k").add(raw(kArray) + array(kU32, count)).with_data(64),
                    "longer than the file");
    expect_rejected(GgufFile(0, 1).string("k").add(raw(kArray) + array(kString, count)).with_data(64),
                    "longer than the file");
    expect_rejected(GgufFile(0, 1).string("k").add(raw(kArray) + array(kArray, count)).with_data(64),
                    "longer than the file");
    expect_rejected(GgufFile(0, 1).string("k").add(raw(kString) + raw(count)).with_data(64), "ends inside a string");
    expect_rejected(GgufFile(0, 1).add(raw(count)).with_data(64), "ends inside a key");
    expect_rejected(GgufFile(1, 0).add(raw(count)).with_data(64), "ends inside a tensor's name");
  }
}

TEST(GgufReader, KeysAreUniqueAndNotEmpty) {
  const std::string value = raw(std::uint32_t{1});
  EXPECT_FALSE(error_of(GgufFile(0, 2).pair("a", kU32, value).pair("b", kU32, value).with_data(0)));
  expect_rejected(GgufFile(0, 2).pair("a", kU32, value).pair("a", kU32, value).with_data(0), "'a' is there twice");
  expect_rejected(GgufFile(0, 1).pair("", kU32, value).with_data(0), "impossible length");
  expect_rejected(GgufFile(0, 1).pair("a", 13, value).with_data(0), "unknown type");
  expect_rejected(GgufFile(0, 1).pair("a", kArray, array(13, 0)).with_data(0), "unknown type");
}

TEST(GgufReader, BoolsAndStringsKeepTheirBytes) {
  const auto header =
      read_bytes(GgufFile(0, 2).pair("b", kBool, "\x02").pair("s", kString, text("\xFF\0x"s)).with_data(0));
  EXPECT_EQ(header.metadata.value(0).bytes()[0], std::byte{2});
  EXPECT_EQ(header.metadata.value(0).as_u64(), 1u);
  EXPECT_EQ(header.metadata.value(1).as_string(), "\xFF\0x"s);
}

TEST(GgufReader, ArraysOfArraysAreKeptToACap) {
  std::string nested = array(kU8, 2, "\x01\x02");
  for (int depth = 1; depth < 4; ++depth) nested = array(kArray, 1, nested);
  const auto header = read_bytes(GgufFile(0, 1).pair("k", kArray, nested).with_data(0));
  EXPECT_EQ(hex_of(header.metadata.value(0).bytes()), hex_of(std::as_bytes(std::span(nested))));
  expect_rejected(GgufFile(0, 1).pair("k", kArray, array(kArray, 1, nested)).with_data(0), "nested too deeply");
  std::string deep = array(kU8, 0);
  for (int depth = 0; depth < 10'000; ++depth) deep = array(kArray, 1, "") + deep;
  expect_rejected(GgufFile(0, 1).pair("k", kArray, deep).with_data(0), "nested too deeply");
}

TEST(GgufReader, AlignmentIsAPowerOfTwoOfTypeU32) {
  const auto aligned = [](std::uint32_t alignment) {
    return GgufFile(1, 1)
        .pair("general.alignment", kU32, raw(alignment))
        .tensor("a", {4}, 0, 0)
        .with_data(16, alignment ? alignment : 1);
  };
  for (const std::uint32_t alignment : {1u, 8u, 32u, 4096u}) {
    const auto header = read_bytes(aligned(alignment));
    EXPECT_EQ(header.alignment, alignment);
    EXPECT_EQ(header.data_offset % alignment, 0u);
  }
  for (const std::uint32_t alignment : {0u, 3u, 33u}) expect_rejected(aligned(alignment), "power of two");
  expect_rejected(GgufFile(0, 1).pair("general.alignment", kI32, raw(32)).with_data(0), "power of two");
  expect_rejected(GgufFile(1, 1).pair("general.alignment", kU32, raw(1u << 31)).tensor("a", {4}, 0, 0).with_data(16),
                  "past the end");
}

TEST(GgufReader, ShapesUpToEightDimensions) {
  const auto header = read_bytes(one_tensor({1, 2, 3, 1, 1, 2, 1, 1}, 0, 48));
  EXPECT_EQ(to_string(header.tensors.tensors()[0].shape), "[1, 1, 2, 1, 1, 3, 2, 1]");
  EXPECT_EQ(header.tensors.tensors()[0].elements, 12u);
  expect_rejected(one_tensor({1, 1, 1, 1, 1, 1, 1, 1, 1}, 0, 4), "too many dimensions");
  expect_rejected(GgufFile(1, 0).string("a").add(raw(UINT32_MAX)).with_data(64), "too many dimensions");
  EXPECT_TRUE(read_bytes(one_tensor({}, 0, 4)).tensors.tensors()[0].shape.empty());
  EXPECT_EQ(read_bytes(one_tensor({0}, 0, 0)).tensors.tensors()[0].bytes, 0u);
}

TEST(GgufReader, SizesThatWrapAreRefused) {
  constexpr std::uint64_t kTop = std::uint64_t{1} << 63;
  expect_rejected(one_tensor({kTop}, 0, 64), "too many elements");
  expect_rejected(one_tensor({kTop - 1, 3}, 0, 64), "too many elements");
  expect_rejected(one_tensor({kTop / 2, kTop / 2, 0}, 0, 64), "too many elements");
  expect_rejected(one_tensor({std::uint64_t{1} << 32, std::uint64_t{1} << 32}, 0, 64), "too many elements");
  expect_rejected(one_tensor({std::uint64_t{1} << 62}, 28, 64), "doesn't fit 63 bits");
  expect_rejected(one_tensor({kTop - 1}, 24, 64), "doesn't fit 63 bits");
  expect_rejected(one_tensor({std::uint64_t{1} << 40}, 0, 64), "past the end");
}

TEST(GgufReader, TypesAndRows) {
  for (const std::uint32_t type : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 63u, 64u, 0x80000000u}) {
    expect_rejected(one_tensor({32}, type, 64), "removed or is unknown");
  }
  expect_rejected(one_tensor({32}, 31, 64), "quantise again to Q4_0");
  EXPECT_EQ(read_bytes(one_tensor({64}, 8, 68)).tensors.tensors()[0].bytes, 68u);
  expect_rejected(one_tensor({33}, 8, 68), "no whole blocks of Q8_0");
  expect_rejected(one_tensor({16, 2}, 8, 68), "no whole blocks of Q8_0");  // 32 elements, but the row is 16
  expect_rejected(one_tensor({}, 8, 68), "no whole blocks of Q8_0");
}

TEST(GgufReader, OffsetsMustFollowEachOther) {
  const auto second_at = [](std::uint64_t offset) {
    return GgufFile(2, 0).tensor("a", {3}, 0, 0).tensor("b", {3}, 0, offset).with_data(64);
  };
  EXPECT_FALSE(error_of(second_at(32)));
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{12}, std::uint64_t{64}, UINT64_MAX}) {
    expect_rejected(second_at(offset), "expected offset 32, found " + std::to_string(offset));
  }
}

TEST(GgufReader, DataLiesInTheFile) {
  const GgufFile file = GgufFile(2, 0).tensor("a", {8}, 0, 0).tensor("b", {3}, 0, 32);
  EXPECT_FALSE(error_of(file.with_data(64)));
  EXPECT_FALSE(error_of(file.with_data(44)));  // no padding after the last
  EXPECT_FALSE(error_of(file.with_data(1000)));
  const std::optional<Error> error = error_of(file.with_data(43));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->detail().tensor, "b");
  EXPECT_FALSE(error_of(GgufFile(0, 0).bytes()));  // nor is padding needed where nothing follows
  EXPECT_EQ(read_bytes(GgufFile(0, 0).bytes()).data_offset, 24u);
}

TEST(GgufReader, NamesAreUniqueWithoutNul) {
  const auto named = [](std::string_view first, std::string_view second) {
    return GgufFile(2, 0).tensor(first, {8}, 0, 0).tensor(second, {8}, 0, 32).with_data(64);
  };
  EXPECT_FALSE(error_of(named("a", "b")));
  EXPECT_FALSE(error_of(named("", "\xFF")));
  EXPECT_FALSE(error_of(named(std::string(200, 'n'), "b")));
  expect_rejected(named("a", "a"), "two tensors have this name");
  expect_rejected(named("a\0x"s, "b"), "NUL");
}

std::string with_everything() {
  return GgufFile(2, 4)
      .pair("u", kU32, raw(7u))
      .pair("s", kString, text("text"))
      .pair("ss", kArray, array(kString, 2, text("a") + text("")))
      .pair("aa", kArray, array(kArray, 1, array(kI32, 2, raw(1) + raw(2))))
      .tensor("x", {32, 2}, 8, 0)
      .tensor("y", {5}, 0, 96)
      .with_data(96 + 20);
}

TEST(GgufReader, EveryTruncationIsRefused) {
  const std::string good = with_everything();
  ASSERT_FALSE(error_of(good));
  for (std::size_t size = 0; size < good.size(); ++size) {
    const std::optional<Error> error = error_of(good.substr(0, size));
    ASSERT_TRUE(error) << size;
    EXPECT_EQ(error->code(), ErrorCode::format) << error->what();
  }
}

TEST(GgufReader, EveryChangedByteIsHandled) {
  const std::string good = with_everything();
  std::size_t refused = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const int c : {0x00, 0x01, 0x08, 0x09, 0x7F, 0x80, 0xFF}) {
      std::string changed = good;
      changed[at] = static_cast<char>(c);
      refused += error_of(changed) ? 1 : 0;
    }
  }
  EXPECT_GT(refused, 0u);
}

TEST(GgufReader, MemoryIsBoundedWhileItGrows) {
  std::string strings;
  for (int i = 0; i < 20'000; ++i) strings += text("token" + std::to_string(i));
  GgufFile file(3000, 1);
  file.pair("tokens", kArray, array(kString, 20'000, strings));
  for (std::uint64_t i = 0; i < 3000; ++i) file.tensor("tensor" + std::to_string(i), {8}, 0, i * 32);
  const std::string bytes = file.with_data(3000 * 32);
  const auto header = read_bytes(bytes);
  EXPECT_LT(header.memory(), 4 * file.bytes().size());
  EXPECT_EQ(header.metadata.value(0).bytes().size(), 12 + strings.size());
  for (std::uint64_t memory = 0; memory < header.memory(); memory += header.memory() / 40) {
    const std::optional<Error> error = error_of(bytes, memory);
    ASSERT_TRUE(error) << memory;
    EXPECT_EQ(error->code(), ErrorCode::budget) << error->what();
  }
}

// Each is close to a megabyte; a reader that is quadratic in anything would take minutes.
TEST(GgufReader, HostileFilesAreDoneWithQuickly) {
  std::vector<std::string> files;
  GgufFile keys(0, 60'000);
  for (int i = 0; i < 60'000; ++i) keys.pair(std::to_string(i), kU8, "\x01");
  files.push_back(keys.with_data(0));
  GgufFile tensors(30'000, 0);
  for (int i = 0; i < 30'000; ++i) tensors.tensor(std::to_string(i), {0}, 0, 0);
  files.push_back(tensors.with_data(0));
  files.push_back(GgufFile(0, 1).pair("k", kArray, array(kString, 120'000, std::string(960'000, '\0'))).with_data(0));
  std::string empties;
  for (int i = 0; i < 80'000; ++i) empties += array(kU8, 0);
  files.push_back(GgufFile(0, 1).pair("k", kArray, array(kArray, 80'000, empties)).with_data(0));
  for (const std::string& file : files) {
    for (const std::uint64_t memory : {kRoomy, std::uint64_t{3} << 20}) {
      const auto start = std::chrono::steady_clock::now();
      const std::optional<Error> error = error_of(file, memory);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      EXPECT_LT(took.count(), 2.0);  // 0.1 s in an optimised build; sanitizers and busy machines need room
      if (memory == kRoomy) {
        EXPECT_FALSE(error) << error->what();
      }
    }
  }
}

}  // namespace
}  // namespace headrace::test
