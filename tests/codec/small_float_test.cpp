// The rarer floats of at most 8 bits, packed ones too, and the odd roundings of the 4-bit blocks' scales.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

#include "codec/codec.hpp"
#include "codec/oracle.hpp"
#include "codec/scalar/floats.hpp"
#include "codec/scalar/fp4.hpp"
#include "codec/scalar/small_floats.hpp"

namespace headrace::codec {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<std::byte> encoded(DType dtype, const std::vector<float>& numbers) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(*bytes_of(dtype, numbers.size())));
  encode(dtype, numbers.data(), bytes.data(), numbers.size());
  return bytes;
}

std::vector<float> decoded(DType dtype, const std::vector<std::byte>& bytes) {
  std::vector<float> numbers(bytes.size() * 8 / code_bits(dtype));
  decode(dtype, bytes.data(), numbers.data(), numbers.size());
  return numbers;
}

std::vector<std::byte> bytes_from(std::initializer_list<unsigned> values) {
  std::vector<std::byte> bytes;
  for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST(SmallFloats, TheFirstNumberIsInTheLowestBits) {
  EXPECT_EQ(encoded(DType::F4, {1, -6, 0.5F, 0}), bytes_from({0xF2, 0x01}));
  EXPECT_EQ(decoded(DType::F4, bytes_from({0xF2, 0x01})), (std::vector<float>{1, -6, 0.5F, 0}));
  // 000001 100000 111111 001000, from the right: 001000'11 1111'1000 00'000001
  EXPECT_EQ(encoded(DType::F6_E2M3, {0.125F, -0.0F, -7.5F, 1}), bytes_from({0x01, 0xF8, 0x23}));
  EXPECT_EQ(decoded(DType::F6_E2M3, bytes_from({0x01, 0xF8, 0x23})), (std::vector<float>{0.125F, -0.0F, -7.5F, 1}));
  EXPECT_EQ(decoded(DType::F6_E3M2, bytes_from({0x01, 0xF8, 0x23})), (std::vector<float>{0.0625F, -0.0F, -28, 0.5F}));
}

TEST(SmallFloats, EveryByteSurvivesTheWayThere) {
  for (const DType dtype : {DType::F8_E8M0, DType::F6_E2M3, DType::F6_E3M2, DType::F4}) {
    SCOPED_TRACE(name(dtype));
    std::vector<std::byte> bytes(std::size_t{3} * 256);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>((i * 7 + i / 256) & 0xFF);
    EXPECT_EQ(encoded(dtype, decoded(dtype, bytes)), bytes);
  }
}

TEST(SmallFloats, PackedOnesRoundToNearestEvenAndEndAtTheLargest) {
  for (const FloatShape& shape : kFloatShapes) {
    if (info(shape.dtype).block_elements == 1) continue;
    SCOPED_TRACE(name(shape.dtype));
    std::vector<float> numbers = {kInfinity, -kInfinity, kNan, -kNan};
    for (int eighths = -300; eighths <= 300; ++eighths) {  // every value and every midpoint is among them
      const float number = static_cast<float>(eighths) / 8;
      const float fine = number / 8;
      for (const float near : {number, fine}) {
        numbers.insert(numbers.end(), {near, std::nextafter(near, kInfinity), std::nextafter(near, -kInfinity), -near});
      }
    }
    for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 32; bits += 65521) {
      numbers.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    }
    numbers.resize(numbers.size() / 4 * 4);
    const std::vector<float> values = decoded(shape.dtype, encoded(shape.dtype, numbers));
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      ASSERT_TRUE(same_value(values[i], rounded(numbers[i], shape))) << numbers[i] << " became " << values[i];
    }
  }
}

TEST(SmallFloats, TheOnlyNanOfFnuzIsMinusZero) {
  for (const float number : {kNan, -kNan, kInfinity, -kInfinity, 3.4e38F, -61440.0F}) {
    EXPECT_EQ(scalar::f32_to_f8_e4m3fnuz(number), 0x80) << number;
    EXPECT_EQ(scalar::f32_to_f8_e5m2fnuz(number), 0x80) << number;
  }
  for (const float number : {0.0F, -0.0F, -1e-30F}) {
    EXPECT_EQ(scalar::f32_to_f8_e4m3fnuz(number), 0) << number;
    EXPECT_EQ(scalar::f32_to_f8_e5m2fnuz(number), 0) << number;
  }
  EXPECT_TRUE(std::isnan(scalar::f8_e4m3fnuz_to_f32(0x80)));
  EXPECT_TRUE(std::isnan(scalar::f8_e5m2fnuz_to_f32(0x80)));
}

TEST(SmallFloats, E8M0IsTheNearestPowerOfTwo) {
  for (int exponent = -127; exponent <= 127; ++exponent) {
    const double power = std::ldexp(1.0, exponent);
    const auto code = static_cast<std::uint8_t>(exponent + 127);
    const auto next = static_cast<std::uint8_t>(code + 1);  // past the end that is NaN, as it should be
    EXPECT_EQ(scalar::f8_e8m0_to_f32(code), power);
    EXPECT_EQ(scalar::f32_to_f8_e8m0(static_cast<float>(power)), code);
    const float halfway = static_cast<float>(1.5 * power);
    EXPECT_EQ(scalar::f32_to_f8_e8m0(halfway), next) << exponent;
    // As torch and ml_dtypes have it, the step above the smallest power is always up.
    EXPECT_EQ(scalar::f32_to_f8_e8m0(std::nextafter(halfway, 0.0F)), exponent == -127 ? next : code) << exponent;
    // From float64 in a single rounding.
    const double below = std::nextafter(1.5 * power, 0.0);
    std::byte once{};
    EXPECT_FALSE(
        Transcoder(DType::F64, DType::F8_E8M0, false).run(reinterpret_cast<const std::byte*>(&below), &once, 1));
    EXPECT_EQ(std::to_integer<unsigned>(once), exponent == -127 ? next : code) << exponent;
  }
  EXPECT_EQ(scalar::f32_to_f8_e8m0(std::numeric_limits<float>::denorm_min()), 0);
  for (const float number : {0.0F, -0.0F, -1.0F, kInfinity, -kInfinity, kNan, -kNan}) {
    EXPECT_EQ(scalar::f32_to_f8_e8m0(number), 0xFF) << number;
  }
  EXPECT_TRUE(std::isnan(scalar::f8_e8m0_to_f32(0xFF)));
}

TEST(SmallFloats, Mxfp4sExponentIsTheRoundedLogarithms) {
  for (int exponent = -149; exponent <= 128; ++exponent) {
    const auto power = std::bit_cast<std::uint32_t>(static_cast<float>(std::ldexp(1.0, exponent)));
    for (std::uint32_t k = 0; k < 512; ++k) {
      const std::uint32_t bits = power + k - 256;
      if (bits == 0 || bits >= 0x7F800000) continue;
      const double number = std::bit_cast<float>(bits);
      const float logarithm = static_cast<float>(std::log2(number));
      ASSERT_EQ(scalar::floor_log2(static_cast<float>(number)), std::floor(logarithm)) << number;
    }
  }
  EXPECT_EQ(scalar::floor_log2(0x1.FFFFFEp127F), 128);  // an ulp under 2^128
  EXPECT_EQ(scalar::floor_log2(0x1.FFFFFEp0F), 0);      // an ulp under 2: too far
}

TEST(SmallFloats, Nvfp4sScaleHasItsOwnRounding) {
  for (const float number : {0.0F, -1.0F, kNan, -kInfinity, 0.0009F}) EXPECT_EQ(scalar::f32_to_ue4m3(number), 0);
  for (const float number : {248.0F, 256.0F, 448.0F, 3.4e38F, kInfinity}) {
    EXPECT_EQ(scalar::f32_to_ue4m3(number), 0x7E) << number;
  }
  EXPECT_EQ(scalar::f32_to_ue4m3(0x1.FFFFFEp-7F), 7);  // E4M3's nearest is 8
  EXPECT_EQ(scalar::f32_to_ue4m3(0x1p-6F), 8);
  EXPECT_EQ(scalar::f32_to_ue4m3(0x1p-10F), 1);    // half of the smallest, rounded up
  EXPECT_EQ(scalar::f32_to_ue4m3(1.0625F), 0x39);  // E4M3 rounds this half to even, 0x38
  EXPECT_EQ(scalar::f32_to_ue4m3(std::nextafter(1.0625F, 0.0F)), 0x38);
  for (std::uint8_t code = 1; code < 0x78; ++code) {
    EXPECT_EQ(scalar::f32_to_ue4m3(scalar::f8_e4m3_to_f32(code)), code);
  }
}

}  // namespace
}  // namespace headrace::codec
