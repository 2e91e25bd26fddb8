// Bytes made by the reference implementations: ggml for its own types, ml_dtypes for the 8-bit floats.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "codec/codec.hpp"
#include "codec/kernel.hpp"
#include "codec/sha256.hpp"
#include "codec/targets.hpp"

namespace headrace::codec {
namespace {

const std::string kGolden = HEADRACE_TEST_DATA "/golden/";

std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<std::byte> result(bytes.size());
  if (!bytes.empty()) std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return nlohmann::json::parse(file);
}

/// Encodes a dataset (where the type is made here) and decodes the reference's bytes with one set of kernels, and
/// compares with the reference.
void compare(const nlohmann::json& entry, const Kernels& kernels) {
  const std::string name = entry.at("file");
  SCOPED_TRACE(name);
  const std::vector<std::byte> source = read_file(kGolden + "ggml/" + entry.at("dataset").get<std::string>() + ".f32");
  const std::vector<std::byte> expected = read_file(kGolden + "ggml/" + name);
  std::vector<float> numbers(source.size() / sizeof(float));
  std::memcpy(numbers.data(), source.data(), source.size());
  ASSERT_EQ(numbers.size(), entry.at("rows").get<std::size_t>() * entry.at("cols").get<std::size_t>());

  // Rows that C leaves undefined are compared too: the codecs promise what the reference does on x86-64.
  if (kernels.encode != nullptr) {
    std::vector<std::byte> encoded(expected.size());
    kernels.encode(numbers.data(), encoded.data(), numbers.size());
    const auto differ = std::mismatch(encoded.begin(), encoded.end(), expected.begin()).first;
    EXPECT_EQ(differ, encoded.end()) << "first at byte " << differ - encoded.begin();
  }

  std::vector<float> decoded(numbers.size());
  kernels.decode(expected.data(), decoded.data(), decoded.size());
  EXPECT_EQ(sha256(std::as_bytes(std::span(decoded))), entry.at("dequant_sha256").get<std::string>());
}

TEST(Golden, SameBytesAsGgml) {
  const nlohmann::json manifest = read_json(kGolden + "ggml/manifest.json");
  std::size_t compared = 0;
  const auto each_entry = [&](bool fast) {
    for (const nlohmann::json& entry : manifest.at("entries")) {
      const auto dtype = parse_dtype(entry.at("type").get<std::string>());
      ASSERT_TRUE(dtype) << entry;
      const Row* row = find_row(*dtype);
      if (row == nullptr) continue;
      compare(entry, fast ? row->fast : row->scalar);
      ++compared;
    }
  };
  each_entry(false);
  EXPECT_GE(compared, 76U);
  on_every_target([&] { each_entry(true); });
}

TEST(Golden, SameEightBitFloatsAsMlDtypes) {
  const nlohmann::json golden = read_json(kGolden + "float8/float8.json");
  for (const DType dtype : {DType::F8_E4M3, DType::F8_E5M2}) {
    SCOPED_TRACE(name(dtype));
    const nlohmann::json& cases = golden.at(std::string(name(dtype)));
    const auto values = cases.at("decode_bits").get<std::vector<std::uint32_t>>();
    const auto numbers = cases.at("encode_from_bits").get<std::vector<std::uint32_t>>();
    const auto codes = cases.at("encode_to").get<std::vector<std::uint8_t>>();
    ASSERT_EQ(values.size(), 256U);
    ASSERT_EQ(numbers.size(), codes.size());
    on_every_target([&] {
      std::vector<std::byte> all(256);
      for (std::size_t i = 0; i < 256; ++i) all[i] = static_cast<std::byte>(i);
      std::vector<float> decoded(256);
      decode(dtype, all.data(), decoded.data(), 256);
      for (std::size_t i = 0; i < 256; ++i) {
        const float expected = std::bit_cast<float>(values[i]);
        if (std::isnan(expected)) {  // the payload is anyone's choice
          EXPECT_TRUE(std::isnan(decoded[i])) << i;
          EXPECT_EQ(std::signbit(decoded[i]), i >= 128) << i;
        } else {
          EXPECT_EQ(std::bit_cast<std::uint32_t>(decoded[i]), values[i]) << i;
        }
      }
      std::vector<float> source(numbers.size());
      std::memcpy(source.data(), numbers.data(), numbers.size() * sizeof(float));
      std::vector<std::byte> encoded(numbers.size());
      encode(dtype, source.data(), encoded.data(), source.size());
      for (std::size_t i = 0; i < codes.size(); ++i) {
        EXPECT_EQ(std::to_integer<unsigned>(encoded[i]), codes[i]) << source[i];
      }
    });
  }
}

}  // namespace
}  // namespace headrace::codec
