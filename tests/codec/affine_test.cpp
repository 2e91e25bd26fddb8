// decode_affine against JavaScript's rules, written down once more without a shortcut.
#include "codec/affine.hpp"

#include "codec/codec.hpp"
#include "codec/scalar/floats.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace headrace::codec {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<std::byte> bytes_of_u16(const std::vector<std::uint16_t>& numbers) {
  std::vector<std::byte> bytes(numbers.size() * 2);
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

std::vector<std::uint16_t> all_u16() {
  std::vector<std::uint16_t> numbers(65536);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::uint16_t>(i);
  return numbers;
}

template <class Number>
std::vector<Number> decoded(DType stored, double scale, double min, DType to, const std::vector<std::byte>& in) {
  std::vector<Number> out(in.size() / info(stored).block_bytes);
  decode_affine(stored, scale, min, to, in.data(), reinterpret_cast<std::byte*>(out.data()), out.size());
  return out;
}

std::int32_t one_i32(double value) {  // 0 × 0 + value
  return decoded<std::int32_t>(DType::U8, 0, value, DType::I32, {std::byte{0}}).front();
}

TEST(Affine, FloatsAreRoundedOnceFromDouble) {
  const std::vector<std::uint16_t> numbers = all_u16();
  const std::vector<std::byte> bytes = bytes_of_u16(numbers);
  for (const auto& [scale, min] : {std::pair(0.0123456789, -1.57), {1e-40, 0.0}, {1e300, -1e304}, {-3.0, 0.1}}) {
    const std::vector<float> out = decoded<float>(DType::U16, scale, min, DType::F32, bytes);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const volatile double product = numbers[i] * scale;  // no compiler may join it with the sum
      const float expected = static_cast<float>(product + min);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(expected)) << i << " × " << scale;
    }
  }
}

TEST(Affine, EveryByteOfU8) {
  std::vector<std::byte> bytes(256);
  for (std::size_t i = 0; i < 256; ++i) bytes[i] = static_cast<std::byte>(i);
  const std::vector<float> out = decoded<float>(DType::U8, 0.1, -12.75, DType::F32, bytes);
  const std::vector<std::int32_t> whole = decoded<std::int32_t>(DType::U8, 0.5, -64, DType::I32, bytes);
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(out[static_cast<std::size_t>(i)], static_cast<float>(i * 0.1 + -12.75));
    EXPECT_EQ(whole[static_cast<std::size_t>(i)], (i + 1) / 2 - 64);  // halves go up, below zero too
  }
}

// What node says of Int32Array.of(Math.round(x))[0].
TEST(Affine, IntegersAreRoundedAsJavaScriptDoes) {
  const double just_below_half = 0.49999999999999994;
  EXPECT_EQ(one_i32(0.5), 1);
  EXPECT_EQ(one_i32(-0.5), 0);
  EXPECT_EQ(one_i32(1.5), 2);
  EXPECT_EQ(one_i32(2.5), 3);
  EXPECT_EQ(one_i32(-1.5), -1);
  EXPECT_EQ(one_i32(-2.5), -2);
  EXPECT_EQ(one_i32(-2.5000000000000004), -3);
  EXPECT_EQ(one_i32(just_below_half), 0);
  EXPECT_EQ(one_i32(-just_below_half), 0);
  EXPECT_EQ(one_i32(-0.5000000000000001), -1);
  EXPECT_EQ(one_i32(1e-300), 0);
  EXPECT_EQ(one_i32(-1e-300), 0);
  EXPECT_EQ(one_i32(2147483647.0), 2147483647);
  EXPECT_EQ(one_i32(2147483647.4), 2147483647);
  EXPECT_EQ(one_i32(-2147483648.0), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(one_i32(-2147483648.5), std::numeric_limits<std::int32_t>::min());
}

TEST(Affine, IntegersThatDontFitKeepTheirLowBits) {
  EXPECT_EQ(one_i32(2147483647.5), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(one_i32(2147483648.0), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(one_i32(-2147483649.0), 2147483647);
  EXPECT_EQ(one_i32(4294967296.0), 0);
  EXPECT_EQ(one_i32(4294967297.0), 1);
  EXPECT_EQ(one_i32(-4294967297.0), -1);
  EXPECT_EQ(one_i32(4503599627370497.0), 1);  // 2^52 + 1: adding a half would round it to even
  EXPECT_EQ(one_i32(9007199254740994.0), 2);
  EXPECT_EQ(one_i32(1e300), 0);
  EXPECT_EQ(one_i32(-1e300), 0);
  EXPECT_EQ(one_i32(kInfinity), 0);
  EXPECT_EQ(one_i32(-kInfinity), 0);
  EXPECT_EQ(one_i32(std::numeric_limits<double>::quiet_NaN()), 0);
}

TEST(Affine, HalvesAreWidenedWhateverTheScale) {
  const std::vector<std::uint16_t> numbers = all_u16();
  const std::vector<float> out = decoded<float>(DType::F16, 7, 9, DType::F32, bytes_of_u16(numbers));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(scalar::f16_to_f32(numbers[i]))) << i;
  }
}

// The stored numbers at the end of the buffer, which is filled over them; lengths around those of a tile.
TEST(Affine, DecodesInPlaceFromTheEndOfTheBuffer) {
  std::mt19937 random(1);
  for (const DType stored : {DType::U8, DType::U16, DType::F16}) {
    for (const DType to : {DType::F32, DType::I32}) {
      if (stored == DType::F16 && to == DType::I32) continue;
      for (const std::size_t n : {0, 1, 2, 3, 255, 1023, 1024, 1025, 2047, 2049, 5000}) {
        std::vector<std::byte> in(n * info(stored).block_bytes), apart(n * 4), place(n * 4 + 1);
        for (std::byte& byte : in) byte = static_cast<std::byte>(random());
        decode_affine(stored, 0.25, -3, to, in.data(), apart.data(), n);
        const std::span<std::byte> buffer = std::span(place).subspan(1);  // and not aligned
        if (n != 0) std::memcpy(buffer.data() + buffer.size() - in.size(), in.data(), in.size());
        decode_affine(stored, 0.25, -3, to, buffer.data() + buffer.size() - in.size(), buffer.data(), n);
        EXPECT_TRUE(std::equal(apart.begin(), apart.end(), buffer.begin())) << name(stored) << ' ' << n;
      }
    }
  }
}

}  // namespace
}  // namespace headrace::codec
