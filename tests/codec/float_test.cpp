// The narrow floats of whole bytes: every pattern of the narrow side, and of the wide side every place where rounding
// changes.
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
#include "codec/oracle.hpp"
#include "codec/scalar/floats.hpp"
#include "codec/targets.hpp"

namespace headrace::codec {
namespace {

struct Narrow {
  FloatShape shape;
  std::size_t bytes;
};

std::vector<Narrow> narrow_types() {
  std::vector<Narrow> types;
  for (const FloatShape& shape : kFloatShapes) {
    if (shape.dtype != DType::F32 && info(shape.dtype).block_elements == 1)
      types.push_back({shape, info(shape.dtype).block_bytes});
  }
  return types;
}

/// Every pattern of a type, in order.
std::vector<std::byte> all_patterns(std::size_t bytes) {
  const std::size_t count = std::size_t{1} << (8 * bytes);
  std::vector<std::byte> patterns(count * bytes);
  for (std::size_t i = 0; i < count; ++i) std::memcpy(patterns.data() + i * bytes, &i, bytes);
  return patterns;
}

/// float32 where rounding to the type may change: every value of it and every midpoint between two, and the two
/// neighbours of each on both sides.
std::vector<float> boundaries(const Narrow& type) {
  const Row& row = *find_row(type.shape.dtype);
  const std::vector<std::byte> patterns = all_patterns(type.bytes);
  const std::size_t half = patterns.size() / type.bytes / 2;
  std::vector<float> values(half);
  row.scalar.decode(patterns.data(), values.data(), half);  // the positive ones, ascending
  std::vector<float> result;
  const auto add = [&result](std::uint32_t bits) {
    for (std::uint32_t k = 0; k < 5; ++k) {
      const std::uint32_t near = (bits + k - 2) & 0x7FFFFFFF;
      result.push_back(std::bit_cast<float>(near));
      result.push_back(std::bit_cast<float>(near | 0x80000000));
    }
  };
  for (std::size_t i = 0; i < half; ++i) {
    add(std::bit_cast<std::uint32_t>(values[i]));
    if (i + 1 < half && std::isfinite(values[i]) && std::isfinite(values[i + 1])) {
      const double midpoint = (static_cast<double>(values[i]) + values[i + 1]) / 2;
      add(std::bit_cast<std::uint32_t>(static_cast<float>(midpoint)));
    }
  }
  for (const float edge : {248.0F, 256.0F, 464.0F, 480.0F, 61440.0F, 65520.0F, 65536.0F})
    add(std::bit_cast<std::uint32_t>(edge));
  for (const std::uint32_t edge : {0x7F7F8000U, 0x7F7FFFFFU, 0x7F800000U, 0x7FC00000U, 0x7FFFFFFDU}) add(edge);
  return result;
}

/// Millions of patterns all over float32, in steps that meet every exponent and all kinds of mantissas.
std::vector<float> sweep() {
  std::vector<float> result;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 257) {
    result.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  return result;
}

void expect_same_bytes(const std::vector<std::byte>& actual, const std::vector<std::byte>& expected, std::size_t bytes,
                       const std::vector<float>& source) {
  if (actual == expected) return;
  const auto at = std::mismatch(actual.begin(), actual.end(), expected.begin()).first - actual.begin();
  const std::size_t i = static_cast<std::size_t>(at) / bytes;
  ADD_FAILURE() << "differs from the reference at " << i << ", bits " << std::hex
                << std::bit_cast<std::uint32_t>(source[i]);
}

TEST(NarrowFloats, DecodeEveryPatternLikeTheReference) {
  for (const Narrow& type : narrow_types()) {
    SCOPED_TRACE(name(type.shape.dtype));
    const Row& row = *find_row(type.shape.dtype);
    const std::vector<std::byte> patterns = all_patterns(type.bytes);
    const std::size_t count = patterns.size() / type.bytes;
    std::vector<float> expected(count);
    row.scalar.decode(patterns.data(), expected.data(), count);
    on_every_target([&] {
      std::vector<float> actual(count);
      row.fast.decode(patterns.data(), actual.data(), count);
      EXPECT_EQ(std::memcmp(actual.data(), expected.data(), count * sizeof(float)), 0);
    });
  }
}

TEST(NarrowFloats, EveryNumberSurvivesTheWayThere) {
  for (const Narrow& type : narrow_types()) {
    SCOPED_TRACE(name(type.shape.dtype));
    const Row& row = *find_row(type.shape.dtype);
    const std::vector<std::byte> patterns = all_patterns(type.bytes);
    const std::size_t count = patterns.size() / type.bytes;
    std::vector<float> numbers(count);
    row.scalar.decode(patterns.data(), numbers.data(), count);
    std::vector<std::byte> back(patterns.size());
    row.scalar.encode(numbers.data(), back.data(), count);
    for (std::size_t i = 0; i < count; ++i) {
      if (std::isnan(numbers[i])) continue;
      EXPECT_EQ(std::memcmp(back.data() + i * type.bytes, patterns.data() + i * type.bytes, type.bytes), 0) << i;
    }
  }
}

TEST(NarrowFloats, EncodeRoundsToNearestEven) {
  const std::vector<float> sparse = sweep();
  for (const Narrow& type : narrow_types()) {
    SCOPED_TRACE(name(type.shape.dtype));
    const Row& row = *find_row(type.shape.dtype);
    for (const bool dense : {true, false}) {
      const std::vector<float> source = dense ? boundaries(type) : sparse;
      std::vector<std::byte> expected(source.size() * type.bytes);
      row.scalar.encode(source.data(), expected.data(), source.size());
      // The reference against doubles: one in 64 of the sweep is enough for that.
      std::vector<float> values(source.size());
      row.scalar.decode(expected.data(), values.data(), source.size());
      for (std::size_t i = 0; i < source.size(); i += dense ? 1 : 64) {
        ASSERT_TRUE(same_value(values[i], rounded(source[i], type.shape)))
            << source[i] << " became " << values[i] << " at " << i;
      }
      on_every_target([&] {
        std::vector<std::byte> actual(expected.size());
        row.fast.encode(source.data(), actual.data(), source.size());
        expect_same_bytes(actual, expected, type.bytes, source);
      });
    }
  }
}

TEST(NarrowFloats, NanKeepsItsSignAndStaysNan) {
  const float quiet = std::numeric_limits<float>::quiet_NaN();
  const float signalling = std::bit_cast<float>(0xFF800001U);
  EXPECT_EQ(scalar::f32_to_f16(quiet), 0x7E00);
  EXPECT_EQ(scalar::f32_to_f16(signalling), 0xFE00);
  EXPECT_EQ(scalar::f32_to_bf16(quiet), 0x7FC0);
  EXPECT_EQ(scalar::f32_to_bf16(signalling), 0xFFC0);
  EXPECT_EQ(scalar::f32_to_f8_e4m3(quiet), 0x7F);
  EXPECT_EQ(scalar::f32_to_f8_e4m3(signalling), 0xFF);
  EXPECT_EQ(scalar::f32_to_f8_e4m3(-std::numeric_limits<float>::infinity()), 0xFF);
  EXPECT_EQ(scalar::f32_to_f8_e5m2(quiet), 0x7F);
  EXPECT_EQ(scalar::f32_to_f8_e5m2(signalling), 0xFF);
  EXPECT_EQ(scalar::f32_to_f8_e5m2(-std::numeric_limits<float>::infinity()), 0xFC);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(scalar::f16_to_f32(0xFC01)), 0xFFC02000U);  // made quiet, payload kept
  EXPECT_EQ(std::bit_cast<std::uint32_t>(scalar::bf16_to_f32(0xFF81)), 0xFF810000U);
}

/// Doubles of every size float32 meets, with those next to what it can hold and next to halfway between.
std::vector<double> doubles() {
  std::mt19937_64 random(64);
  std::vector<double> result = {0.0,
                                -0.0,
                                std::numeric_limits<double>::infinity(),
                                -std::numeric_limits<double>::infinity(),
                                std::numeric_limits<double>::quiet_NaN(),
                                std::bit_cast<double>(0xFFF0000000000001U),
                                std::numeric_limits<double>::max(),
                                std::numeric_limits<double>::denorm_min(),
                                -std::numeric_limits<double>::min()};
  for (int i = 0; i < 200000; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(random()) & (i % 3 == 0 ? 0xFFFFFFFFU : 0xFFFF8000U);
    const double base = std::bit_cast<float>(bits);
    result.push_back(base);
    result.push_back(std::nextafter(base, 1e300));
    result.push_back(std::nextafter(base, -1e300));
    const double next = std::nextafter(std::bit_cast<float>(bits), 1e38F);
    result.push_back((base + next) / 2);
    result.push_back(std::nextafter((base + next) / 2, 1e300));
    result.push_back(
        std::ldexp(1.0 + std::ldexp(static_cast<double>(random() >> 12), -52), static_cast<int>(random() % 300) - 160));
  }
  return result;
}

TEST(Float64, NarrowsLikeTheReferenceAndRoundsOnce) {
  const std::vector<double> source = doubles();
  const auto* bytes = reinterpret_cast<const std::byte*>(source.data());
  const Row& row = *find_row(DType::F64);
  std::vector<float> nearest(source.size()), odd(source.size());
  scalar::decode_f64(bytes, nearest.data(), source.size());
  scalar::decode_f64_odd(bytes, odd.data(), source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    ASSERT_TRUE(same_value(nearest[i], rounded(source[i], kFloatShapes[0]))) << source[i];
  }
  for (const Narrow& type : narrow_types()) {
    SCOPED_TRACE(name(type.shape.dtype));
    const Row& to = *find_row(type.shape.dtype);
    std::vector<std::byte> encoded(source.size() * type.bytes);
    to.scalar.encode(odd.data(), encoded.data(), source.size());
    std::vector<float> values(source.size());
    to.scalar.decode(encoded.data(), values.data(), source.size());
    for (std::size_t i = 0; i < source.size(); ++i) {
      ASSERT_TRUE(same_value(values[i], rounded(source[i], type.shape)))
          << source[i] << " became " << values[i] << " by way of " << odd[i];
    }
  }
  on_every_target([&] {
    std::vector<float> actual(source.size());
    row.fast.decode(bytes, actual.data(), source.size());
    EXPECT_EQ(std::memcmp(actual.data(), nearest.data(), actual.size() * sizeof(float)), 0);
    row.decode_odd(bytes, actual.data(), source.size());
    EXPECT_EQ(std::memcmp(actual.data(), odd.data(), actual.size() * sizeof(float)), 0);
  });
}

TEST(Float64, WidensExactly) {
  const std::vector<float> source = sweep();
  const Row& row = *find_row(DType::F64);
  std::vector<std::byte> expected(source.size() * sizeof(double));
  row.scalar.encode(source.data(), expected.data(), source.size());
  for (std::size_t i = 0; i < source.size(); i += 64) {
    double wide = 0;
    std::memcpy(&wide, expected.data() + i * sizeof wide, sizeof wide);
    ASSERT_TRUE(same_value(wide, source[i])) << source[i];
  }
  on_every_target([&] {
    std::vector<std::byte> actual(expected.size());
    row.fast.encode(source.data(), actual.data(), source.size());
    expect_same_bytes(actual, expected, sizeof(double), source);
  });
}

}  // namespace
}  // namespace headrace::codec
