// Q8_0 and Q4_0: the vector kernels against the scalar reference, on blocks made to be difficult.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "codec/kernel.hpp"
#include "codec/scalar/legacy.hpp"
#include "codec/targets.hpp"

namespace headrace::codec {
namespace {

constexpr std::size_t kBlock = scalar::kLegacyBlock;
constexpr DType kTypes[] = {DType::Q8_0, DType::Q4_0};

/// Encodes with the reference and on every target; the bytes must be the same, and so must what they decode to.
void expect_like_reference(const std::vector<float>& numbers) {
  ASSERT_EQ(numbers.size() % kBlock, 0U);
  for (const DType dtype : kTypes) {
    SCOPED_TRACE(name(dtype));
    const Row& row = *find_row(dtype);
    const std::size_t block_bytes = info(dtype).block_bytes;
    std::vector<std::byte> expected(numbers.size() / kBlock * block_bytes);
    row.scalar.encode(numbers.data(), expected.data(), numbers.size());
    std::vector<float> values(numbers.size());
    row.scalar.decode(expected.data(), values.data(), numbers.size());
    on_every_target([&] {
      std::vector<std::byte> actual(expected.size());
      row.fast.encode(numbers.data(), actual.data(), numbers.size());
      const auto differ = std::mismatch(actual.begin(), actual.end(), expected.begin()).first - actual.begin();
      EXPECT_EQ(static_cast<std::size_t>(differ), expected.size())
          << "block " << static_cast<std::size_t>(differ) / block_bytes;
      std::vector<float> decoded(numbers.size());
      row.fast.decode(expected.data(), decoded.data(), numbers.size());
      EXPECT_EQ(std::memcmp(decoded.data(), values.data(), values.size() * sizeof(float)), 0);
    });
  }
}

TEST(LegacyBlocks, RandomNumbersOfAllSizes) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(kBlock * 4001);  // no whole number of groups
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const int exponent = static_cast<int>(i / kBlock % 270) - 150;
    numbers[i] = std::ldexp(normal(random), exponent);  // denormals, and scales that F16 can't hold, among them
  }
  expect_like_reference(numbers);
}

TEST(LegacyBlocks, EveryBitPatternIsTakenAsItComes) {
  std::mt19937 random(2);
  std::vector<float> numbers(kBlock * 3000);
  for (float& number : numbers) number = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
  expect_like_reference(numbers);
}

TEST(LegacyBlocks, TiesGoTheReferencesWay) {
  // The largest number makes the scale 1, so the others meet the rounding as they are.
  std::vector<float> numbers;
  for (const float largest : {127.0F, -127.0F, 8.0F, -8.0F}) {
    std::vector<float> near;
    for (int halves = -255; halves <= 255; ++halves) {
      const float tie = static_cast<float>(halves) / 2;
      if (std::fabs(tie) > std::fabs(largest)) continue;
      near.insert(near.end(), {tie, std::nextafter(tie, 1000.0F), std::nextafter(tie, -1000.0F)});
    }
    near.insert(near.end(), {0.49999997F, -0.49999997F, 0.5F, -0.5F});
    for (std::size_t i = 0; i < near.size(); i += kBlock - 1) {
      numbers.push_back(largest);
      for (std::size_t j = 0; j < kBlock - 1; ++j) numbers.push_back(i + j < near.size() ? near[i + j] : 0);
    }
  }
  expect_like_reference(numbers);

  std::vector<float> block(kBlock, 0.0F);
  block[0] = 127;
  block[1] = 0.5F;
  block[2] = -0.5F;
  block[3] = 2.5F;
  block[4] = 0.49999997F;
  std::vector<std::byte> bytes(scalar::kQ8_0Bytes);
  scalar::encode_q8_0(block.data(), bytes.data(), kBlock);
  EXPECT_EQ(std::to_integer<int>(bytes[2]), 127);
  EXPECT_EQ(std::to_integer<int>(bytes[3]), 1);    // half away from zero
  EXPECT_EQ(std::to_integer<int>(bytes[4]), 255);  // −1
  EXPECT_EQ(std::to_integer<int>(bytes[5]), 3);
  EXPECT_EQ(std::to_integer<int>(bytes[6]), 0);
}

TEST(LegacyBlocks, TheFirstOfEquallyLargeNumbersGivesTheSign) {
  std::mt19937 random(3);
  std::vector<float> numbers;
  for (std::size_t block = 0; block < 400; ++block) {
    const float size = block % 50 == 0 ? 0.0F : static_cast<float>(block % 7 + 1) / 16;
    const std::size_t first = random() % kBlock;  // smaller numbers come before it
    for (std::size_t i = 0; i < kBlock; ++i) {
      const float magnitude = i < first ? size / 2 : size;
      numbers.push_back(random() % 2 == 0 ? magnitude : -magnitude);
    }
  }
  expect_like_reference(numbers);

  std::vector<float> block(kBlock, -3.0F);
  block[0] = 1;
  block[1] = 3;
  EXPECT_EQ(scalar::largest(block.data()), 3.0F);
  block[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(scalar::largest(block.data()), -3.0F);
}

TEST(LegacyBlocks, ZerosOfEitherSignMakeOneBlock) {
  std::vector<float> plus(kBlock, 0.0F), minus(kBlock, -0.0F);
  for (const DType dtype : kTypes) {
    const Row& row = *find_row(dtype);
    on_every_target([&] {
      std::vector<std::byte> a(info(dtype).block_bytes), b(a.size());
      row.fast.encode(plus.data(), a.data(), kBlock);
      row.fast.encode(minus.data(), b.data(), kBlock);
      EXPECT_EQ(a, b);
    });
  }
  std::vector<float> numbers;
  for (std::size_t i = 0; i < kBlock * 9; ++i) numbers.push_back(i / kBlock % 2 == 0 ? -0.0F : 0.25F);
  expect_like_reference(numbers);
}

TEST(LegacyBlocks, NanAndInfinityAnywhereInAGroup) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (const float bad : {nan, -nan, infinity, -infinity}) {
    std::vector<float> numbers(kBlock * 70);
    for (float& number : numbers) number = normal(random);
    for (const std::size_t at : {std::size_t{0}, kBlock * 31 + 31, kBlock * 32, kBlock * 40 + 17, numbers.size() - 1}) {
      numbers[at] = bad;
    }
    expect_like_reference(numbers);
    std::fill_n(numbers.begin() + kBlock, kBlock, bad);
    expect_like_reference(numbers);
    for (std::size_t i = 0; i < kBlock; i += 2) numbers[kBlock + i] = -bad;  // one payload, both signs
    expect_like_reference(numbers);
  }
}

TEST(LegacyBlocks, EveryScaleAndCodeDecodesLikeTheReference) {
  for (const DType dtype : kTypes) {
    SCOPED_TRACE(name(dtype));
    const Row& row = *find_row(dtype);
    const std::size_t block_bytes = info(dtype).block_bytes;
    std::vector<std::byte> bytes(65536 * block_bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37 & 0xFF);
    for (std::uint32_t scale = 0; scale < 65536; ++scale) std::memcpy(bytes.data() + scale * block_bytes, &scale, 2);
    std::vector<float> expected(65536 * kBlock), actual(expected.size());
    row.scalar.decode(bytes.data(), expected.data(), expected.size());
    on_every_target([&] {
      row.fast.decode(bytes.data(), actual.data(), actual.size());
      EXPECT_EQ(std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(float)), 0);
    });
  }
}

}  // namespace
}  // namespace headrace::codec
