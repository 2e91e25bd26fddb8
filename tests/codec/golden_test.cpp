// Bytes made by the reference implementations: ggml for its own types, ml_dtypes for floats of at most 8 bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "codec/codec.hpp"
#include "codec/kernel.hpp"
#include "codec/oracle.hpp"
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

std::vector<float> read_floats(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  std::vector<float> numbers(bytes.size() / sizeof(float));
  if (!numbers.empty()) std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(float));
  return numbers;
}

/// An importance matrix laid beside a dataset: every row takes its first columns.
struct Imatrix {
  std::vector<float> of, row_mean_squares;

  Imatrix(const std::string& file, const std::vector<float>& numbers, std::size_t columns) {
    const std::vector<float> row = read_floats(kGolden + "ggml/" + file);
    EXPECT_GE(row.size(), columns);
    for (std::size_t at = 0; at < numbers.size(); at += columns) {
      of.insert(of.end(), row.begin(), row.begin() + static_cast<std::ptrdiff_t>(columns));
      RowSquares squares;
      squares.add(numbers.data() + at, columns);
      row_mean_squares.insert(row_mean_squares.end(), columns / 32, squares.mean());
    }
  }

  Weights weights() const { return {of.data(), row_mean_squares.data()}; }
};

void expect_same(const std::vector<std::byte>& actual, const std::vector<std::byte>& expected) {
  const auto differ = std::mismatch(actual.begin(), actual.end(), expected.begin()).first;
  EXPECT_EQ(differ, actual.end()) << "first at byte " << differ - actual.begin();
}

/// Encodes a dataset (where the type is made here, with the weights that the reference had) and decodes the reference's
/// bytes with one set of kernels, and compares with the reference.
void compare(const nlohmann::json& entry, const Kernels& kernels) {
  const std::string name = entry.at("file");
  SCOPED_TRACE(name);
  const std::vector<float> numbers = read_floats(kGolden + "ggml/" + entry.at("dataset").get<std::string>() + ".f32");
  const std::vector<std::byte> expected = read_file(kGolden + "ggml/" + name);
  const auto columns = entry.at("cols").get<std::size_t>();
  ASSERT_EQ(numbers.size(), entry.at("rows").get<std::size_t>() * columns);

  // Rows that C leaves undefined are compared too: the codecs promise what the reference does on x86-64.
  const bool weighted = entry.at("imatrix").is_string();
  if (kernels.encode != nullptr) {
    std::vector<std::byte> encoded(expected.size());
    if (weighted) {
      ASSERT_NE(kernels.encode_weighted, nullptr);
      const Imatrix imatrix(entry.at("imatrix"), numbers, columns);
      kernels.encode_weighted(numbers.data(), imatrix.weights(), encoded.data(), numbers.size());
    } else {
      kernels.encode(numbers.data(), encoded.data(), numbers.size());
    }
    expect_same(encoded, expected);
  }

  std::vector<float> decoded(numbers.size());
  kernels.decode(expected.data(), decoded.data(), decoded.size());
  EXPECT_EQ(sha256(std::as_bytes(std::span(decoded))), entry.at("dequant_sha256").get<std::string>());
}

TEST(Golden, SameBytesAsGgml) {
  const nlohmann::json manifest = read_json(kGolden + "ggml/manifest.json");
  const nlohmann::json& entries = manifest.at("entries");
  const auto each_entry = [&](bool fast) {
    std::size_t compared = 0;
    for (const nlohmann::json& entry : entries) {
      const auto dtype = parse_dtype(entry.at("type").get<std::string>());
      ASSERT_TRUE(dtype) << entry;
      const Row* row = find_row(*dtype);
      if (row == nullptr) continue;
      compare(entry, fast ? row->fast : row->scalar);
      ++compared;
    }
    EXPECT_EQ(compared, entries.size()) << "types without a codec";
  };
  each_entry(false);
  on_every_target([&] { each_entry(true); });
}

/// A type with a grid, and the SHA-256 of the numbers that ggml reads from its random_blocks().
struct GridCase {
  DType dtype;
  const char* sha256;
};

constexpr GridCase kGridCases[] = {
    {DType::IQ1_S, "6c2d29db7a45e42c37e04fde6a77eb9c652bd5e66179f6b62a02485a199ea382"},
    {DType::IQ1_M, "c637c1c3a5eb94e02eef4419b8ea88a6d77c6cf64001ac4da3e1ca3b80162cd1"},
    {DType::IQ2_XXS, "86b1a8d2ac6f9c92bb948225fcfc5e2d01ffa06ebe24ef33b4f34e579ab45d99"},
    {DType::IQ2_XS, "4f0c97de68b539270daf0e08f1be73c0f798d304d3beb36b0f52723545dd2816"},
    {DType::IQ2_S, "a22c85e55ff4f0031bdab49843d44b6f33261c760f561d61cad62ec2dbc37d20"},
    {DType::IQ3_XXS, "49a0149570bb7ccc080f2552be8e9c96baa0827f90fac7891b7c352d5f604fc3"},
    {DType::IQ3_S, "a30af6e3bb7cd65d490baed31822d67feacd25f1a4547d339b179e1d6f7e3825"},
};

/// Blocks of bytes as they come, but for the scale, which is 1.
std::vector<std::byte> random_blocks(DType dtype, std::size_t blocks) {
  const std::size_t block_bytes = info(dtype).block_bytes;
  std::mt19937 random(1);
  std::vector<std::byte> bytes(blocks * block_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xFF);
  for (std::byte* block = bytes.data(); blocks != 0; --blocks, block += block_bytes) {
    if (dtype != DType::IQ1_M) {
      block[0] = std::byte{0x00};
      block[1] = std::byte{0x3C};
    } else {  // its scale is four nibbles
      const unsigned nibbles[] = {0x00, 0x00, 0xC0, 0x30};
      for (std::size_t i = 0; i < 4; ++i) {
        std::byte& high = block[49 + 2 * i];
        high = (high & std::byte{0x0F}) | static_cast<std::byte>(nibbles[i]);
      }
    }
  }
  return bytes;
}

TEST(Golden, EveryGridPointIsGgmls) {
  for (const GridCase& c : kGridCases) {
    constexpr std::size_t kBlocks = 2000;  // at 32 or 64 points a block, none is left out
    const std::vector<std::byte> bytes = random_blocks(c.dtype, kBlocks);
    std::vector<float> numbers(kBlocks * info(c.dtype).block_elements);
    decode(c.dtype, bytes.data(), numbers.data(), numbers.size());
    EXPECT_EQ(sha256(std::as_bytes(std::span(numbers))), c.sha256) << name(c.dtype);
  }
}

/// Every code against the value that ml_dtypes gives it.
void compare_values(DType dtype, const std::vector<std::uint32_t>& values) {
  std::vector<std::uint8_t> codes(std::size_t{1} << code_bits(dtype));
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i);
  ASSERT_EQ(values.size(), codes.size());
  const std::vector<std::byte> bytes = pack_codes(dtype, codes);
  std::vector<float> decoded(codes.size());
  decode(dtype, bytes.data(), decoded.data(), decoded.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float expected = std::bit_cast<float>(values[i]);
    if (std::isnan(expected)) {  // the payload is anyone's choice
      EXPECT_TRUE(std::isnan(decoded[i])) << i;
      EXPECT_EQ(std::signbit(decoded[i]), std::signbit(expected)) << i;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(decoded[i]), values[i]) << i;
    }
  }
}

TEST(Golden, SameSmallFloatsAsMlDtypes) {
  const nlohmann::json golden = read_json(kGolden + "float8/float8.json");
  for (const DType dtype : {DType::F8_E4M3, DType::F8_E5M2, DType::F8_E8M0, DType::F8_E4M3FNUZ, DType::F8_E5M2FNUZ,
                            DType::F6_E2M3, DType::F6_E3M2, DType::F4}) {
    SCOPED_TRACE(name(dtype));
    const nlohmann::json& cases = golden.at(std::string(name(dtype)));
    const auto numbers = cases.at("encode_from_bits").get<std::vector<std::uint32_t>>();
    const auto codes = cases.at("encode_to").get<std::vector<std::uint8_t>>();
    ASSERT_EQ(numbers.size(), codes.size());
    ASSERT_EQ(numbers.size() % info(dtype).block_elements, 0U);
    std::vector<float> source(numbers.size());
    std::memcpy(source.data(), numbers.data(), numbers.size() * sizeof(float));
    const std::vector<std::byte> expected = pack_codes(dtype, codes);
    on_every_target([&] {
      compare_values(dtype, cases.at("decode_bits").get<std::vector<std::uint32_t>>());
      std::vector<std::byte> encoded(expected.size());
      encode(dtype, source.data(), encoded.data(), source.size());
      for (std::size_t i = 0; i < encoded.size(); ++i) {
        const std::size_t first = i * 8 / code_bits(dtype);
        ASSERT_EQ(encoded[i], expected[i]) << "byte " << i << ", from " << source[first] << " on";
      }
    });
  }
}

}  // namespace
}  // namespace headrace::codec
