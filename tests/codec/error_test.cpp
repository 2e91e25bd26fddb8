// The sums that say how far numbers are apart: the reference against plain words, every instruction set against the
// reference, to the last bit.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "base/fpu.hpp"
#include "codec/simd/error_kernels.hpp"
#include "codec/targets.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace headrace::codec {
namespace {

using kernels::error_sums;
using kernels::error_sums_reference;
using kernels::ErrorSums;
using Numbers = std::vector<float>;

constexpr std::size_t kTile = 2048;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr double kInfinitelyFar = std::numeric_limits<double>::infinity();

/// A way to make numbers, and others that lie close.
struct Filling {
  const char* what;
  float (*number)(std::mt19937& random);
  float (*beside)(std::mt19937& random, float number);
};

float normal(std::mt19937& random) { return std::normal_distribution<float>(0, 1.0F / 32)(random); }
float any_finite(std::mt19937& random) {
  const float number = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
  return std::isfinite(number) ? number : 1.0F;
}

const Filling kFillings[] = {
    {"normal", normal, [](std::mt19937& r, float x) { return x + normal(r) / 16; }},
    {"equal", normal, [](std::mt19937&, float x) { return x; }},
    {"of every size", any_finite, [](std::mt19937& r, float) { return any_finite(r); }},
    {"of every size and close", any_finite, [](std::mt19937&, float x) { return std::nextafter(x, 0.0F); }},
    {"denormal", [](std::mt19937& r) { return std::bit_cast<float>(static_cast<std::uint32_t>(r()) & 0x807FFFFF); },
     [](std::mt19937& r, float x) { return r() % 2 == 0 ? x : 0.0F; }},
    {"huge", [](std::mt19937& r) { return std::copysign(kLargest, normal(r)); },
     [](std::mt19937& r, float x) { return r() % 2 == 0 ? x : -x; }},
    {"zeros of both signs", [](std::mt19937& r) { return r() % 2 == 0 ? 0.0F : -0.0F; },
     [](std::mt19937&, float x) { return -x; }},
    {"now and then not finite",
     [](std::mt19937& r) {
       const float others[] = {kNan, kInfinity, -kInfinity};
       return r() % 11 == 0 ? others[r() % 3] : normal(r);
     },
     [](std::mt19937& r, float x) {
       const float others[] = {-kNan, kInfinity, -kInfinity, 1.0F};
       return r() % 13 == 0 ? others[r() % 4] : x;
     }},
};

struct Pairs {
  Numbers a, b;
};

/// One number more than `n`, first, so that the others lie where no vector would be.
Pairs filled(const Filling& filling, std::size_t n) {
  std::mt19937 random(static_cast<std::uint32_t>(n));
  Pairs pairs;
  for (std::size_t i = 0; i <= n; ++i) {
    pairs.a.push_back(filling.number(random));
    pairs.b.push_back(filling.beside(random, pairs.a.back()));
  }
  return pairs;
}

void expect_same(const ErrorSums& actual, const ErrorSums& expected) {
  const auto bits = [](double number) { return std::bit_cast<std::uint64_t>(number); };
  EXPECT_EQ(bits(actual.squared_error), bits(expected.squared_error));
  EXPECT_EQ(bits(actual.squared), bits(expected.squared));
  EXPECT_EQ(bits(actual.squared_other), bits(expected.squared_other));
  EXPECT_EQ(bits(actual.product), bits(expected.product));
  EXPECT_EQ(bits(actual.largest), bits(expected.largest));
}

TEST(ErrorSums, OfTheReferenceAreWhatTheySay) {
  const Numbers a = {1, -2, 3, 0.5F, 0, 7, 7, 7, 4}, b = {1, -1, 5, 0.25F, -0.0F, 7, 7, 7, 1};
  const ErrorSums sums = error_sums_reference(a.data(), b.data(), a.size());
  EXPECT_EQ(sums.squared_error, 1 + 4 + 0.0625 + 9);
  EXPECT_EQ(sums.squared, 1 + 4 + 9 + 0.25 + 3 * 49 + 16);
  EXPECT_EQ(sums.squared_other, 1 + 1 + 25 + 0.0625 + 3 * 49 + 1);
  EXPECT_EQ(sums.product, 1 + 2 + 15 + 0.125 + 3 * 49 + 4);
  EXPECT_EQ(sums.largest, 3);
  expect_same(error_sums_reference(nullptr, nullptr, 0), {});
}

TEST(ErrorSums, TreatNonfiniteNumbersAsVerifyDoes) {
  const auto of = [](const Numbers& a, const Numbers& b) {
    const ErrorSums expected = error_sums_reference(a.data(), b.data(), a.size());
    on_every_target([&] { expect_same(error_sums(a.data(), b.data(), a.size()), expected); });
    return expected;
  };
  expect_same(of({kNan, kInfinity, -kInfinity, 2}, {-kNan, kInfinity, -kInfinity, 3}), {1, 4, 9, 6, 1});
  expect_same(of({kNan, 2}, {0, 2}), {kInfinitelyFar, 4, 4, 4, kInfinitelyFar});
  expect_same(of({kInfinity, 2}, {-kInfinity, 2}), {kInfinitelyFar, 4, 4, 4, kInfinitelyFar});
  expect_same(of({kLargest}, {kInfinity}), {kInfinitelyFar, double{kLargest} * double{kLargest}, 0, 0, kInfinitelyFar});
  expect_same(of({3, 2}, {kNan, 2}), {kInfinitelyFar, 13, 4, 4, kInfinitelyFar});
}

TEST(ErrorSums, OfVectorsAreTheReferencesToTheLastBit) {
  for (const Filling& filling : kFillings) {
    SCOPED_TRACE(filling.what);
    std::vector<std::size_t> lengths = {kTile - 1, kTile, kTile + 1, 100'003};
    for (std::size_t n = 0; n <= 70; ++n) lengths.push_back(n);
    for (const std::size_t n : lengths) {
      SCOPED_TRACE(n);
      const Pairs pairs = filled(filling, n);
      const float *const a = pairs.a.data() + 1, *const b = pairs.b.data() + 1;
      const ErrorSums expected = error_sums_reference(a, b, n);
      on_every_target([&] { expect_same(error_sums(a, b, n), expected); });
    }
  }
}

TEST(ErrorSums, FindWhatIsNotFiniteWhereverItIs) {
  for (const float number : {kNan, kInfinity, -kInfinity}) {
    for (std::size_t at = 0; at < 35; ++at) {
      Numbers a(35, 0.5F), b(35, 0.25F);
      (at % 2 == 0 ? a : b)[at] = number;
      const ErrorSums expected = error_sums_reference(a.data(), b.data(), a.size());
      EXPECT_EQ(expected.largest, kInfinitelyFar);
      on_every_target([&] { expect_same(error_sums(a.data(), b.data(), a.size()), expected); });
    }
  }
}

TEST(ErrorSums, AreKeptInEightStrandsAndJoinedInOrder) {
  // The large square swallows the ones in its own strand. The threes of the other seven are joined to it, each rounded
  // up to the four that its last place counts.
  Numbers a(3 * kernels::kErrorStrands, 1.0F);
  a[0] = 0x1p27F;
  const Numbers b(a.size(), 0.0F);
  on_every_target([&] {
    const ErrorSums sums = error_sums(a.data(), b.data(), a.size());
    EXPECT_EQ(sums.squared, 0x1p54 + 7 * 4);
    EXPECT_EQ(sums.squared_error, 0x1p54 + 7 * 4);
  });
}

#if defined(__SSE__)
TEST(ErrorSums, DontDependOnTheHostsFloatMode) {
  for (const Filling& filling : kFillings) {
    SCOPED_TRACE(filling.what);
    const Pairs pairs = filled(filling, 77);
    const ErrorSums expected = error_sums_reference(pairs.a.data(), pairs.b.data(), 77);
    on_every_target([&] {
      const unsigned before = _mm_getcsr();
      _mm_setcsr(before | 0x8040 | 0x6000);  // flush both ways, round towards zero
      ErrorSums actual;
      {
        const base::FloatMode mode;  // as every worker has it
        actual = error_sums(pairs.a.data(), pairs.b.data(), 77);
      }
      _mm_setcsr(before);
      expect_same(actual, expected);
    });
  }
}
#endif

}  // namespace
}  // namespace headrace::codec
