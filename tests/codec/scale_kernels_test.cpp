// The vector kernels that search for a scale without an offset: Q6_K, Q3_K, IQ4_NL and IQ4_XS, with and without an
// importance matrix, and Q4_0 and Q5_0 with one. They must make the scalar reference's bytes on every target.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "codec/kernel.hpp"
#include "codec/scalar/iq4.hpp"
#include "codec/scalar/k_quants.hpp"
#include "codec/scalar/legacy.hpp"
#include "codec/simd/iq4_kernels.hpp"
#include "codec/simd/k_scale_kernels.hpp"
#include "codec/simd/legacy_scale_kernels.hpp"
#include "codec/targets.hpp"

namespace headrace::codec {
namespace {

using Numbers = std::vector<float>;
using Bytes = std::vector<std::byte>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Encoders {
  EncodeFn plain;  ///< null where no search is made
  WeightedEncodeFn weighted;
};

struct Type {
  const char* name;
  std::size_t block_elements, block_bytes;
  Encoders fast, scalar;
};

const Type kTypes[] = {
    {"Q6_K",
     scalar::kSuperBlock,
     scalar::kQ6KBytes,
     {kernels::encode_q6_k, kernels::encode_q6_k_weighted},
     {scalar::encode_q6_k, scalar::encode_q6_k_weighted}},
    {"Q3_K",
     scalar::kSuperBlock,
     scalar::kQ3KBytes,
     {kernels::encode_q3_k, kernels::encode_q3_k_weighted},
     {scalar::encode_q3_k, scalar::encode_q3_k_weighted}},
    {"IQ4_NL",
     scalar::kIq4NlBlock,
     scalar::kIq4NlBytes,
     {kernels::encode_iq4_nl, kernels::encode_iq4_nl_weighted},
     {scalar::encode_iq4_nl, scalar::encode_iq4_nl_weighted}},
    {"IQ4_XS",
     scalar::kIq4XsBlock,
     scalar::kIq4XsBytes,
     {kernels::encode_iq4_xs, kernels::encode_iq4_xs_weighted},
     {scalar::encode_iq4_xs, scalar::encode_iq4_xs_weighted}},
    {"Q4_0",
     scalar::kLegacyBlock,
     scalar::kQ4_0Bytes,
     {nullptr, kernels::encode_q4_0_weighted},
     {nullptr, scalar::encode_q4_0_weighted}},
    {"Q5_0",
     scalar::kLegacyBlock,
     scalar::kQ5_0Bytes,
     {nullptr, kernels::encode_q5_0_weighted},
     {nullptr, scalar::encode_q5_0_weighted}},
};

using Random = std::mt19937;

float normal(Random& random) { return std::normal_distribution<float>()(random); }
float uniform(Random& random) { return std::uniform_real_distribution<float>()(random); }
float sign(Random& random) { return random() % 2 == 0 ? 1.0F : -1.0F; }

/// A way to fill blocks: `at` counts numbers.
struct Filling {
  const char* what;
  float (*number)(Random& random, std::size_t at);
};

const Filling kFillings[] = {
    {"weights", [](Random& r, std::size_t) { return normal(r) / 32; }},
    {"heavy tails", [](Random& r, std::size_t) { return normal(r) / std::max(0.001F, uniform(r)); }},
    {"one far above the rest in a block",
     [](Random& r, std::size_t at) { return at % 256 == 77 ? 900.0F : normal(r); }},
    {"groups of every size",
     [](Random& r, std::size_t at) { return std::ldexp(normal(r), static_cast<int>(at / 16 * 7 % 40) - 20); }},
    {"blocks of every size",
     [](Random& r, std::size_t at) { return std::ldexp(normal(r), static_cast<int>(at / 32 * 7 % 277) - 149); }},
    {"constant", [](Random&, std::size_t at) { return at / 64 % 2 == 0 ? 1.7F : -1.7F; }},
    {"about as small as counts", [](Random& r, std::size_t) { return normal(r) * 1e-15F; }},
    {"small enough for sums to vanish", [](Random& r, std::size_t) { return normal(r) * 3e-14F; }},
    {"huge", [](Random& r, std::size_t) { return sign(r) * 3e38F * uniform(r); }},
    {"large enough for sums to overflow", [](Random& r, std::size_t) { return normal(r) * 1e12F; }},
    {"denormal", [](Random& r, std::size_t) { return std::bit_cast<float>(std::uint32_t(r()) & 0x807FFFFF); }},
    {"sparse", [](Random& r, std::size_t) { return r() % 11 == 0 ? normal(r) : 0.0F; }},
    {"one in a group", [](Random& r, std::size_t at) { return at % 16 == at / 16 % 16 ? normal(r) : 0.0F; }},
    {"zeros of either sign", [](Random& r, std::size_t) { return sign(r) * 0.0F; }},
    {"two values", [](Random& r, std::size_t) { return r() % 3 == 0 ? 0.75F : -0.5F; }},
    {"one size, either sign", [](Random& r, std::size_t) { return sign(r); }},
    {"whole numbers", [](Random& r, std::size_t) { return static_cast<float>(static_cast<int>(r() % 65) - 32); }},
    {"halves", [](Random& r, std::size_t) { return static_cast<float>(static_cast<int>(r() % 255) - 127) / 2; }},
    {"few bits",
     [](Random& r, std::size_t) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(normal(r)) & 0xFFFF0000); }},
    {"a ramp", [](Random&, std::size_t at) { return static_cast<float>(at % 256) / 256 - 0.3F; }},
    {"one sign", [](Random& r, std::size_t) { return -1 - uniform(r); }},
    {"any finite bits",
     [](Random& r, std::size_t) {
       const float number = std::bit_cast<float>(std::uint32_t(r()));
       return std::isfinite(number) ? number : 1.0F;
     }},
    {"any bits", [](Random& r, std::size_t) { return std::bit_cast<float>(std::uint32_t(r())); }},
    {"NaN now and then", [](Random& r, std::size_t) { return r() % 701 == 5 ? kNan : normal(r); }},
    {"infinity now and then", [](Random& r, std::size_t) { return r() % 701 == 5 ? sign(r) * kInfinity : normal(r); }},
};

/// What the numbers count for.
const Filling kImportances[] = {
    {"like a matrix", [](Random& r, std::size_t) { return normal(r) * normal(r) * 3; }},
    {"equal", [](Random&, std::size_t) { return 1.0F; }},
    {"zeros", [](Random&, std::size_t) { return 0.0F; }},
    {"some zeros", [](Random& r, std::size_t) { return r() % 3 == 0 ? 0.0F : uniform(r); }},
    {"one in a group", [](Random&, std::size_t at) { return at % 16 == 3 ? 1.0F : 0.0F; }},
    {"of every size", [](Random& r, std::size_t) { return std::ldexp(1.0F, static_cast<int>(r() % 250) - 125); }},
    {"tiny", [](Random& r, std::size_t) { return uniform(r) * 1e-38F; }},
};

Numbers filled(const Filling& filling, std::size_t count, std::uint32_t seed) {
  Random random(seed);
  Numbers numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = filling.number(random, i);
  return numbers;
}

/// The importance of numbers, with a mean square for each 32; it is never negative nor anything but finite.
struct Matrix {
  Numbers of, mean_squares;

  Matrix(const Filling& filling, const Numbers& numbers) : of(filled(filling, numbers.size(), 7)) {
    for (float& number : of) number = std::fabs(number);
    for (std::size_t i = 0; i < numbers.size(); i += 32) {
      float sum = 0;
      for (std::size_t j = i / 128 * 128; j < std::min(i / 128 * 128 + 128, numbers.size()); ++j) {
        sum += numbers[j] * numbers[j];
      }
      mean_squares.push_back(sum / 128);
    }
  }

  Weights weights() const { return {of.data(), mean_squares.data()}; }
};

/// Encodes to a place at which no float could be, with something in it before and behind.
template <typename Encode>
Bytes encoded(const Type& type, std::size_t count, Encode encode) {
  const std::size_t bytes = count / type.block_elements * type.block_bytes;
  Bytes target(bytes + 2, std::byte{0xA5});
  encode(target.data() + 1);
  EXPECT_EQ(target.front(), std::byte{0xA5});
  EXPECT_EQ(target.back(), std::byte{0xA5}) << "wrote past the end";
  return {target.begin() + 1, target.end() - 1};
}

Bytes encoded(const Type& type, EncodeFn encode, const Numbers& numbers) {
  return encoded(type, numbers.size(), [&](std::byte* to) { encode(numbers.data(), to, numbers.size()); });
}

Bytes encoded(const Type& type, WeightedEncodeFn encode, const Numbers& numbers, const Matrix& matrix) {
  return encoded(type, numbers.size(),
                 [&](std::byte* to) { encode(numbers.data(), matrix.weights(), to, numbers.size()); });
}

void expect_same(const Type& type, const Bytes& actual, const Bytes& expected) {
  const auto differ = std::mismatch(actual.begin(), actual.end(), expected.begin(), expected.end()).first;
  if (differ == actual.end()) return;
  const auto at = static_cast<std::size_t>(differ - actual.begin());
  ADD_FAILURE() << type.name << " block " << at / type.block_bytes << " byte " << at % type.block_bytes;
}

void expect_like_reference(const Type& type, const Numbers& numbers) {
  if (type.scalar.plain == nullptr) return;
  const Bytes expected = encoded(type, type.scalar.plain, numbers);
  on_every_target([&] { expect_same(type, encoded(type, type.fast.plain, numbers), expected); });
}

void expect_like_reference(const Type& type, const Numbers& numbers, const Matrix& matrix) {
  const Bytes expected = encoded(type, type.scalar.weighted, numbers, matrix);
  on_every_target([&] { expect_same(type, encoded(type, type.fast.weighted, numbers, matrix), expected); });
}

TEST(ScaleKernels, MakeTheReferencesBytes) {
  for (const Type& type : kTypes) {
    for (const Filling& filling : kFillings) {
      SCOPED_TRACE(filling.what);
      expect_like_reference(type, filled(filling, 256 * 24, 1));
    }
  }
}

TEST(ScaleKernels, MakeTheReferencesBytesWithAnImportanceMatrix) {
  for (const Type& type : kTypes) {
    for (const Filling& filling : kFillings) {
      SCOPED_TRACE(filling.what);
      const Numbers numbers = filled(filling, 256 * 18, 2);
      for (const Filling& importance : kImportances) {
        SCOPED_TRACE(importance.what);
        expect_like_reference(type, numbers, Matrix(importance, numbers));
      }
    }
  }
}

/// What a different order of operations changes shows in few blocks, so there are many.
TEST(ScaleKernels, MakeTheReferencesBytesOfManyBlocks) {
  for (const Type& type : kTypes) {
    for (const std::size_t filling : {0, 3}) {
      SCOPED_TRACE(kFillings[filling].what);
      expect_like_reference(type, filled(kFillings[filling], 256 * 1500, 4));
    }
  }
}

TEST(ScaleKernels, TakeAnyNumberOfBlocks) {
  for (const Type& type : kTypes) {
    for (std::size_t blocks = 0; blocks <= 19; ++blocks) {
      SCOPED_TRACE(std::to_string(blocks) + " blocks");
      for (const std::size_t filling : {0, 3}) {
        const Numbers numbers = filled(kFillings[filling], blocks * type.block_elements, 3);
        expect_like_reference(type, numbers);
        expect_like_reference(type, numbers, Matrix(kImportances[0], numbers));
      }
    }
  }
}

/// Numbers that are, times some scale, on IQ4's values and on the middles between them, or next to those.
TEST(ScaleKernels, FindTheNearestOfUnevenValues) {
  const float values[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  Random random(5);
  Numbers numbers(256 * 64);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::size_t k = random() % 15;
    const float middle = (values[k] + values[k + 1]) / 2;
    const float at = random() % 3 == 0 ? values[k] : middle;
    const float near = random() % 2 == 0 ? at : std::nextafter(at, random() % 2 == 0 ? -200.0F : 200.0F);
    const float scale = std::ldexp(1.0F, -static_cast<int>(i / 256 % 8));
    numbers[i] = i % 32 == 9 ? -127 * scale : near * scale;
  }
  for (const Type& type : kTypes) expect_like_reference(type, numbers);
}

}  // namespace
}  // namespace headrace::codec
