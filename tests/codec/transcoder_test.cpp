// Transcoder: every pair of types, any length and alignment, and the check.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/fpu.hpp"
#include "codec/codec.hpp"
#include "codec/kernel.hpp"
#include "codec/oracle.hpp"
#include "codec/scalar/floats.hpp"
#include "codec/scalar/legacy.hpp"
#include "codec/targets.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace headrace::codec {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::size_t bytes_for(DType dtype, std::size_t elements) {
  return static_cast<std::size_t>(*bytes_of(dtype, elements));
}

/// Numbers as source bytes of F64, F32, F16, … by the scalar reference.
std::vector<std::byte> source_of(DType dtype, const std::vector<double>& numbers) {
  std::vector<std::byte> bytes(bytes_for(dtype, numbers.size()));
  if (dtype == DType::F64) {
    std::memcpy(bytes.data(), numbers.data(), bytes.size());
    return bytes;
  }
  const std::vector<float> narrow(numbers.begin(), numbers.end());
  find_row(dtype)->scalar.encode(narrow.data(), bytes.data(), narrow.size());
  return bytes;
}

std::vector<std::byte> random_bytes(std::size_t count) {
  std::mt19937 random(5);
  std::vector<std::byte> bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random() & 0xFF);
  return bytes;
}

/// What the transcoder should write, by the scalar reference and without tiles.
std::vector<std::byte> expected_bytes(const Row& from, const Row& to, const std::byte* src, std::size_t elements) {
  std::vector<std::byte> result(bytes_for(to.dtype, elements));
  if (from.dtype == to.dtype) {
    if (!result.empty()) std::memcpy(result.data(), src, result.size());
    return result;
  }
  std::vector<float> numbers(elements);
  const bool odd = from.dtype == DType::F64 && !is_block(to.dtype) && to.dtype != DType::F32;
  (odd ? scalar::decode_f64_odd : from.scalar.decode)(src, numbers.data(), elements);
  to.scalar.encode(numbers.data(), result.data(), elements);
  return result;
}

void expect_pair(const Row& from, const Row& to) {
  const Transcoder transcoder(from.dtype, to.dtype, false);
  const std::size_t granule = transcoder.granule();
  ASSERT_EQ(granule, std::max(info(from.dtype).block_elements, info(to.dtype).block_elements));
  for (const std::size_t length : {0, 1, 2, 7, 31, 33, 2047, 2048, 2049, 5001}) {
    const std::size_t elements = length / granule * granule + (granule > 1 && length % 2 != 0 ? granule : 0);
    for (const std::size_t shift : {0, 1}) {
      const std::vector<std::byte> source = random_bytes(shift + bytes_for(from.dtype, elements));
      const std::vector<std::byte> expected = expected_bytes(from, to, source.data() + shift, elements);
      std::vector<std::byte> actual(expected.size() + shift + 1, std::byte{0xA5});
      EXPECT_FALSE(transcoder.run(source.data() + shift, actual.data() + shift, elements));
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), actual.begin() + static_cast<std::ptrdiff_t>(shift)))
          << elements << " elements, " << shift << " bytes off";
      EXPECT_EQ(actual.back(), std::byte{0xA5}) << "wrote past the end";
    }
  }
}

bool has_kernels(const Row& row) {
  return row.fast.decode != row.scalar.decode || row.fast.encode != row.scalar.encode;
}

TEST(Transcoder, EveryPairGivesTheReferencesBytes) {
  for (const Row& from : all_rows()) {
    for (const Row& to : all_rows()) {
      if (!can_encode(to.dtype)) continue;
      SCOPED_TRACE(std::string(name(from.dtype)) + " to " + std::string(name(to.dtype)));
      if (has_kernels(from) || has_kernels(to)) {
        on_every_target([&] { expect_pair(from, to); });
      } else {
        expect_pair(from, to);  // the same on all
      }
    }
  }
}

TEST(Transcoder, FloatsAreRoundedOnce) {
  std::mt19937_64 random(6);
  std::vector<double> numbers;
  for (int i = 0; i < 20000; ++i) {
    // Few bits, then many zeros, then one last bit: what two roundings get wrong.
    const double few = std::ldexp(static_cast<double>(random() % 4096), static_cast<int>(random() % 60) - 40);
    numbers.push_back(few * (1 + std::ldexp(static_cast<double>(static_cast<int>(random() % 3) - 1), -50)));
  }
  for (const FloatShape& to : kFloatShapes) {
    SCOPED_TRACE(name(to.dtype));
    std::vector<std::byte> bytes(bytes_for(to.dtype, numbers.size()));
    const Transcoder transcoder(DType::F64, to.dtype, false);
    EXPECT_FALSE(transcoder.run(reinterpret_cast<const std::byte*>(numbers.data()), bytes.data(), numbers.size()));
    std::vector<float> values(numbers.size());
    decode(to.dtype, bytes.data(), values.data(), numbers.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      ASSERT_TRUE(same_value(values[i], rounded(numbers[i], to))) << numbers[i];
    }
  }
}

struct CheckCase {
  DType from, to;
  double value;
  bool bad;
};

constexpr CheckCase kCheckCases[] = {
    // Quantising takes no NaN and no infinity.
    {DType::F32, DType::Q8_0, kNan, true},
    {DType::F32, DType::Q4_0, -kInfinity, true},
    {DType::F16, DType::Q8_0, kInfinity, true},
    {DType::BF16, DType::Q4_0, kNan, true},
    {DType::F64, DType::Q8_0, 1e300, true},
    {DType::F64, DType::Q8_0, -kInfinity, true},
    // Nor what would make a block's scale, an F16, infinite.
    {DType::F64, DType::Q4_0, 3.4e38, true},
    {DType::F32, DType::Q8_0, -65520.0 * 127, true},
    {DType::F32, DType::Q8_0, 8321039.5, false},
    {DType::F32, DType::Q4_0, -65520.0 * 8, true},
    {DType::F32, DType::Q4_0, 524159.96875, false},
    // A cast keeps NaN and infinity; it must not make them.
    {DType::F32, DType::F16, kNan, false},
    {DType::F32, DType::F16, kInfinity, false},
    {DType::F32, DType::F16, -65520, true},
    {DType::F32, DType::F16, 65519.99609375, false},
    {DType::F64, DType::F16, 65520, true},
    {DType::F64, DType::F16, 65519.99999999999, false},
    {DType::BF16, DType::F16, 65536, true},
    {DType::F32, DType::BF16, 0x1.FFp127, true},       // 2^128 − 2^119
    {DType::F32, DType::BF16, 0x1.FEFFFEp127, false},  // the float32 before
    {DType::F64, DType::BF16, 0x1.FFp127, true},
    {DType::F64, DType::BF16, 0x1.FEFFFFFFFFFFFp127, false},
    {DType::F64, DType::BF16, -1e300, true},
    {DType::F64, DType::BF16, kInfinity, false},
    {DType::F64, DType::F32, 0x1.FFFFFFp127, true},          // 2^128 − 2^103
    {DType::F64, DType::F32, 0x1.FFFFFEFFFFFFFp127, false},  // the float64 before
    {DType::F64, DType::F32, -1e300, true},
    {DType::F64, DType::F32, kInfinity, false},
    {DType::F64, DType::F32, kNan, false},
    {DType::F32, DType::F8_E5M2, 61440, true},
    {DType::F32, DType::F8_E5M2, 61439.99609375, false},
    {DType::F16, DType::F8_E5M2, -65504, true},
    {DType::F32, DType::F8_E5M2, kInfinity, false},
    {DType::F32, DType::F8_E4M3, 464, false},
    {DType::F32, DType::F8_E4M3, 464.000030517578125, true},
    {DType::F64, DType::F8_E4M3, -464.0000000001, true},
    {DType::F16, DType::F8_E4M3, kInfinity, true},  // there is none to keep it
    {DType::F32, DType::F8_E4M3, kNan, false},
    // FNUZ has no infinity either, but NaN.
    {DType::F32, DType::F8_E4M3FNUZ, -248, true},
    {DType::F32, DType::F8_E4M3FNUZ, 247.999984741210938, false},
    {DType::F64, DType::F8_E5M2FNUZ, 61440, true},
    {DType::F64, DType::F8_E5M2FNUZ, -61439.9999999999, false},
    {DType::F32, DType::F8_E5M2FNUZ, kInfinity, true},
    {DType::F32, DType::F8_E4M3FNUZ, kNan, false},
    // F6 and F4 have neither.
    {DType::F32, DType::F6_E2M3, -7.75, true},
    {DType::F32, DType::F6_E2M3, 7.7499995231628418, false},
    {DType::F64, DType::F6_E3M2, 30, true},
    {DType::F64, DType::F6_E3M2, -29.9999999999999, false},
    {DType::F32, DType::F4, 7, true},
    {DType::F64, DType::F4, 6.99999999999999, false},
    {DType::F32, DType::F4, kNan, true},
    {DType::F16, DType::F6_E2M3, -kInfinity, true},
    {DType::BF16, DType::F6_E3M2, kNan, true},
    // F8_E8M0 has nothing but NaN and powers of two.
    {DType::F32, DType::F8_E8M0, 0, true},
    {DType::F32, DType::F8_E8M0, -0.0, true},
    {DType::F32, DType::F8_E8M0, -1, true},
    {DType::F64, DType::F8_E8M0, -1e-300, true},
    {DType::F64, DType::F8_E8M0, 1e-300, false},
    {DType::F32, DType::F8_E8M0, 0x1.8p127, true},
    {DType::F32, DType::F8_E8M0, 0x1.7FFFFEp127, false},
    {DType::F32, DType::F8_E8M0, -kInfinity, true},
    {DType::F32, DType::F8_E8M0, kNan, false},
    // Blocks of few bits: the largest number, or the mean, is the scale; the 4-bit floats have scales of their own.
    {DType::F32, DType::TQ1_0, 65520, true},
    {DType::F32, DType::TQ2_0, -65519.99609375, false},
    {DType::F32, DType::Q2_0, kInfinity, true},
    {DType::F32, DType::Q1_0, -65520, true},
    {DType::F32, DType::Q1_0, 65519, false},
    {DType::F32, DType::MXFP4, 3e38, false},
    {DType::F32, DType::MXFP4, kInfinity, true},
    {DType::F32, DType::NVFP4, 2784, false},
    {DType::F32, DType::NVFP4, -2784.000244140625, true},
    {DType::F32, DType::F64, kInfinity, false},
    {DType::F16, DType::F16, kNan, false},
};

TEST(Transcoder, CheckFindsTheFirstBadNumber) {
  on_every_target([] {
    for (const CheckCase& c : kCheckCases) {
      SCOPED_TRACE(std::string(name(c.from)) + " to " + std::string(name(c.to)) + " of " + std::to_string(c.value));
      const std::size_t block = info(c.to).block_elements;
      const std::size_t elements = 4096 + (block == 1 ? 5 : block);
      std::vector<std::byte> target(bytes_for(c.to, elements) + 1);
      for (const std::size_t first : {std::size_t{0}, std::size_t{77}, std::size_t{2048}, elements - 1}) {
        std::vector<double> numbers(elements, 0.5);
        numbers[first] = c.value;
        if (first + 3 < elements) numbers[first + 3] = c.value;
        numbers.back() = c.value;
        std::vector<std::byte> source = source_of(c.from, numbers);
        const auto found = Transcoder(c.from, c.to, true).run(source.data(), target.data(), elements);
        ASSERT_EQ(found.has_value(), c.bad);
        if (found) {
          EXPECT_EQ(found->element, first);
          EXPECT_TRUE(same_value(found->value, c.value)) << found->value;
        }
        EXPECT_FALSE(Transcoder(c.from, c.to, false).run(source.data(), target.data(), elements));
        source.insert(source.begin(), std::byte{0});  // and off by a byte
        const auto again = Transcoder(c.from, c.to, true).run(source.data() + 1, target.data() + 1, elements);
        ASSERT_EQ(again.has_value(), c.bad);
        if (again) {
          EXPECT_EQ(again->element, first);
        }
      }
    }
  });
}

TEST(Transcoder, IntegersAreComparable) {
  const std::int64_t numbers[] = {0, -1, (std::int64_t{1} << 24) + 1, std::numeric_limits<std::int64_t>::min()};
  float values[4];
  decode(DType::I64, reinterpret_cast<const std::byte*>(numbers), values, 4);
  EXPECT_EQ(values[0], 0.0F);
  EXPECT_EQ(values[1], -1.0F);
  EXPECT_EQ(values[2], 16777216.0F);  // halfway: to even
  EXPECT_EQ(values[3], -9223372036854775808.0F);
  decode(DType::U64, reinterpret_cast<const std::byte*>(numbers), values, 4);
  EXPECT_EQ(values[1], 18446744073709551616.0F);
  const std::byte flags[] = {std::byte{0}, std::byte{1}, std::byte{2}, std::byte{0}};
  decode(DType::BOOL, flags, values, 4);
  EXPECT_EQ(values[1], 1.0F);
  EXPECT_EQ(values[2], 1.0F);
  EXPECT_EQ(values[3], 0.0F);
}

TEST(Transcoder, KnowsItsTypes) {
  for (const DTypeInfo& type : all_dtypes()) {
    const bool number = type.kind == DTypeKind::integer || type.kind == DTypeKind::boolean;
    const bool grid = type.dtype >= DType::IQ1_S && type.dtype <= DType::IQ3_S;
    const bool reads = type.kind != DTypeKind::complex && type.kind != DTypeKind::text && !type.internal;
    EXPECT_EQ(can_decode(type.dtype), reads) << type.name;
    EXPECT_EQ(can_encode(type.dtype), reads && !number && !grid) << type.name;
  }
}

#if defined(__SSE__)
TEST(Transcoder, AHostThatFlushesDenormalsChangesNothing) {
  std::vector<float> numbers;
  for (int i = 0; i < 4096; ++i) numbers.push_back(std::ldexp(1.0F + static_cast<float>(i) / 4096, i / 32 - 149));
  const auto* source = reinterpret_cast<const std::byte*>(numbers.data());
  on_every_target([&] {
    for (const Row& to : all_rows()) {
      if (!can_encode(to.dtype)) continue;
      SCOPED_TRACE(name(to.dtype));
      const std::vector<std::byte> expected = expected_bytes(*find_row(DType::F32), to, source, numbers.size());
      std::vector<std::byte> actual(expected.size());
      const unsigned before = _mm_getcsr();
      _mm_setcsr(before | 0x8040 | 0x6000);  // flush both ways, round towards zero
      bool bad = true;
      {
        const base::FloatMode mode;
        bad = Transcoder(DType::F32, to.dtype, false).run(source, actual.data(), numbers.size()).has_value();
      }
      _mm_setcsr(before);
      EXPECT_FALSE(bad);
      EXPECT_EQ(actual, expected);
    }
  });
}
#endif

}  // namespace
}  // namespace headrace::codec
