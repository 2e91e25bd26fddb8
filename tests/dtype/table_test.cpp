#include "support/memory_source.hpp"

#include <headrace/dtype.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cctype>
#include <limits>
#include <map>
#include <set>
#include <string>

namespace headrace {
namespace {

std::string changed(std::string_view text, int (*letter)(int)) {
  std::string result;
  for (const char c : text) result += static_cast<char>(letter(static_cast<unsigned char>(c)));
  return result;
}

TEST(DTypeTable, EveryNameLeadsBackToItsTypeInAnyCase) {
  for (const DTypeInfo& row : all_dtypes()) {
    EXPECT_EQ(&info(row.dtype), &row);
    EXPECT_EQ(name(row.dtype), row.name);
    EXPECT_FALSE(row.name.empty());
    for (const std::string_view known : {row.name, row.safetensors_name, row.ggml_name, row.torch_name}) {
      if (known.empty()) continue;
      EXPECT_EQ(parse_dtype(known), row.dtype) << known;
      EXPECT_EQ(parse_dtype(changed(known, std::toupper)), row.dtype) << known;
      EXPECT_EQ(parse_dtype(changed(known, std::tolower)), row.dtype) << known;
    }
  }
}

TEST(DTypeTable, RefusesWhatIsNoName) {
  for (const char* text : {"", "q4", "Q4_K ", "float", "q4_k_m", "F", "-1"})
    EXPECT_EQ(parse_dtype(text), std::nullopt) << text;
}

TEST(DTypeTable, CanonicalNamesAreUpperCase) {
  for (const DTypeInfo& row : all_dtypes()) EXPECT_EQ(changed(row.name, std::toupper), row.name);
}

// The reference's own table, as it reports it.
TEST(DTypeTable, AgreesWithGgmlOnIdsAndBlocks) {
  const auto reference = nlohmann::json::parse(test::read_file(HEADRACE_TEST_DATA "/golden/ggml-types.json"));
  std::set<DType> seen;
  for (const auto& [ggml_name, expected] : reference.items()) {
    const auto dtype = parse_dtype(ggml_name);
    ASSERT_TRUE(dtype.has_value()) << ggml_name;
    const DTypeInfo& row = info(*dtype);
    EXPECT_EQ(row.ggml_name, ggml_name);
    EXPECT_EQ(row.gguf_id, expected.at("id").get<int>()) << ggml_name;
    EXPECT_EQ(row.block_elements, expected.at("block_elements").get<int>()) << ggml_name;
    EXPECT_EQ(row.block_bytes, expected.at("block_bytes").get<int>()) << ggml_name;
    seen.insert(*dtype);
  }
  for (const DTypeInfo& row : all_dtypes()) {
    if (is_block(row.dtype)) {
      EXPECT_TRUE(seen.count(row.dtype)) << row.name << " is not in the reference's list";
    }
  }
}

TEST(DTypeTable, GgufIdsAreUniqueAndGgmlNamed) {
  std::map<int, std::string> by_id;
  for (const DTypeInfo& row : all_dtypes()) {
    EXPECT_EQ(row.gguf_id >= 0, !row.ggml_name.empty()) << row.name;
    if (row.gguf_id < 0) continue;
    EXPECT_TRUE(by_id.emplace(row.gguf_id, row.name).second) << row.name << " and " << by_id[row.gguf_id];
  }
}

TEST(DTypeTable, SafetensorsHoldsItsTwentyTwoTypes) {
  std::set<std::string_view> names;
  for (const DTypeInfo& row : all_dtypes()) {
    if (!row.safetensors_name.empty()) names.insert(row.safetensors_name);
  }
  const std::set<std::string_view> expected = {
      "BOOL", "F4",  "F6_E2M3", "F6_E3M2", "U8",  "I8",  "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
      "I16",  "U16", "F16",     "BF16",    "I32", "U32", "F32",     "C64",     "F64",     "I64",         "U64"};
  EXPECT_EQ(names, expected);
}

TEST(DTypeTable, SizesOfScalars) {
  EXPECT_EQ(bytes_of(DType::F32, 3), 12u);
  EXPECT_EQ(bytes_of(DType::C64, 3), 24u);
  EXPECT_EQ(bytes_of(DType::BOOL, 0), 0u);
  EXPECT_EQ(bytes_of(DType::F4, 6), 3u);
  EXPECT_EQ(bytes_of(DType::F4, 7), std::nullopt);
  EXPECT_EQ(bytes_of(DType::F6_E2M3, 8), 6u);
  EXPECT_EQ(bytes_of(DType::F6_E3M2, 2), std::nullopt);
}

TEST(DTypeTable, OnlyTextHasNoSizeOfItsOwn) {
  for (const DTypeInfo& row : all_dtypes()) EXPECT_EQ(row.block_bytes == 0, row.kind == DTypeKind::text) << row.name;
  EXPECT_EQ(info(DType::STRING).kind, DTypeKind::text);
  EXPECT_EQ(bytes_of(DType::STRING, 0), 0u);
  EXPECT_EQ(bytes_of(DType::STRING, 1), std::nullopt);
}

TEST(DTypeTable, SizesThatDontFitAreNothing) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(bytes_of(DType::U8, kMost), kMost);
  EXPECT_EQ(bytes_of(DType::F16, kMost / 2 + 1), std::nullopt);
  EXPECT_EQ(bytes_of(DType::F64, kMost / 8 + 1), std::nullopt);
  EXPECT_EQ(bytes_of(DType::Q8_0, kMost / 32 * 32), std::nullopt);
  EXPECT_EQ(bytes_of(DType::Q4_K, 255), std::nullopt);
  EXPECT_EQ(bytes_of(DType::Q4_K, 512), 288u);
}

TEST(DTypeTable, OnlyIntermediatesAreInternal) {
  for (const DTypeInfo& row : all_dtypes()) {
    EXPECT_EQ(row.internal, row.dtype == DType::Q8_1 || row.dtype == DType::Q8_K) << row.name;
  }
}

}  // namespace
}  // namespace headrace
