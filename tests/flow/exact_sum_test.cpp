// Sums that lose nothing: those of integers are checked by integers, nasty ones by what is known of them, and all in
// many orders.
#include "flow/exact_sum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace headrace::flow {
namespace {

using Numbers = std::vector<long double>;

constexpr double kSmallest = std::numeric_limits<double>::denorm_min();
constexpr double kLargest = std::numeric_limits<double>::max();
constexpr long double kInfinity = std::numeric_limits<long double>::infinity();
// Where long double is float64 there are no squares of large numbers to be held.
constexpr bool kWide = std::numeric_limits<long double>::max_exponent > 5000;

long double sum_of(const Numbers& numbers) {
  ExactSum sum;
  for (const long double number : numbers) sum.add(number);
  return sum.value();
}

TEST(ExactSum, IsTheNearestFloat64) {
  const struct {
    Numbers numbers;
    double sum;
  } cases[] = {
      {{}, 0},
      {{-0.0L}, 0},
      {{0.1, 0.2, 0.3}, 0x1.3333333333333p-1},  // one after the other they give 0x1.3333333333334p-1
      {{0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}, 1},
      {{1e100, 1, -1e100}, 1},
      {{1e308, 1e-308, -1e308}, 1e-308},
      {{1, 1e100, 1, -1e100}, 2},
      {{0x1p53, 1}, 0x1p53},                 // a tie goes to even
      {{0x1p53, 3}, 0x1p53 + 4},             // so does this, upwards
      {{0x1p53, 1, kSmallest}, 0x1p53 + 2},  // no tie
      {{0x1p53, 1, -kSmallest}, 0x1p53},
      {{0x1p53, 3, -kSmallest}, 0x1p53 + 2},
      {{-0x1p53, -1, -kSmallest}, -0x1p53 - 2},
      {{0x1p64, -1}, 0x1p64},
      {{0x1p64, -0x1p10}, 0x1p64},  // half of the last place below a power of two: to even
      {{0x1p64, -0x1p10, -kSmallest}, 0x1.fffffffffffffp63},
      {{kSmallest, kSmallest, kSmallest}, 3 * kSmallest},
      {{0x1p-1022, -kSmallest}, 0x0.fffffffffffffp-1022},
      {{0x1p-1022, -0x1p-1022}, 0},
      {{kLargest, kLargest, -kLargest, -kSmallest}, kLargest},
      {{kLargest, -kLargest, kSmallest}, kSmallest},
      {{-1.5, 0.25}, -1.25},
      {{0x1p-600, -0x1p600, 0x1p600, 0x1p-653}, 0x1p-600},
      {{0x1p-600, -0x1p600, 0x1p600, 0x1p-653, 0x1p-1000}, 0x1.0000000000001p-600},
      // What Python's math.fsum says of some that cancel.
      {{0x1.34f07ca9d3794p540, -0x1.a47e1128b2f33p-690, 0x1.db209531985dp-200, -0x1.bc0d82c0146b6p636,
        -0x1.738f1ece0b928p660, -0x1.21832d3ac94afp-568, 0x1.738f208a19154p660, -0x1.34f07ca9d3794p540},
       -0x1.46b6p600},
      {{-0x1.413eea170b339p13, -0x1.2bcc193bd04cfp-11, -0x1.c4c6be7af6b34p-58, -0x1.ad32c9447ab2ep-44,
        -0x1.3be2b244eccb2p9, -0x1.29c771a61dbe3p12, -0x1.8f132faab9018p6, -0x1.e840907a70c3p14, 0x1.6f6005a39afc2p15},
       -0x1.9a6e9de2fba4fp-39},
      {{-0x1.5c5d67f150525p-1007, 0x1.41afd8df0ee32p-1017, 0x0.00000265ec172p-1022, -0x0.0000063d176ccp-1022,
        -0x1.33749261add5ep-1009, 0x1.5fb81c012058ep-1019, 0x0.00000000001f6p-1022, -0x0.00000000d6144p-1022,
        0x1.a8d42511cba21p-1007},
       0x0.0000000001e08p-1022},
      {{0x1.ddd5926e87555p961, 0x1.ec8dc0a097c97p984, -0x1.1dbc1c3baea9fp972, 0x1.63fdc57124243p943,
        0x1.980239474031bp957, -0x1.7f5eeb84107f8p1016, 0x1.7f5eeb8224039p1016},
       -0x1.cc9ff4dd7165ap962},
      {{0x1.64e2b795e8229p-17, -0x1.6729fbb2d420fp-2, 0x1.6ee9d48db40afp3, 0x1.e19cb05c6af07p8, 0x1.38ca72b0537e7p-14,
        0x1.bee383c5e8c04p-5, -0x1.fb1d6f415879cp2, 0x1.be2b0eab477d3p10, -0x1.cbf7c552df636p3, -0x1.19e506ff24d93p11},
       -0x1.83bfa7cp-43},
  };
  for (const auto& test : cases) {
    const auto sum = sum_of(test.numbers);
    EXPECT_EQ(sum, static_cast<long double>(test.sum)) << "case " << &test - cases;
    EXPECT_FALSE(std::signbit(sum) && sum == 0);
  }
}

TEST(ExactSum, OfIntegersIsTheirSum) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    ExactSum sum;
    __int128 expected = 0;
    for (int i = 0; i < 1000; ++i) {
      const auto number = static_cast<std::int64_t>(random()) >> (11 + random() % 50);
      expected += number;
      sum.add(static_cast<long double>(number));
    }
    ASSERT_LT(expected < 0 ? -expected : expected, __int128{1} << 63);
    EXPECT_EQ(sum.value(), static_cast<long double>(static_cast<double>(static_cast<std::int64_t>(expected))));
  }
}

double any_finite(std::mt19937_64& random) {
  const auto number = std::bit_cast<double>(random());
  return std::isfinite(number) ? number : kSmallest;
}

TEST(ExactSum, ForgetsTheOrderAndHowItWasGathered) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 50; ++round) {
    Numbers numbers;
    for (int i = 0; i < 200; ++i) {
      numbers.push_back(any_finite(random));
      // What cancels a number but for its last bits.
      if (i % 3 == 0) numbers.push_back(-std::nextafter(static_cast<double>(numbers.back()), 0.0));
    }
    const auto expected = sum_of(numbers);
    for (int order = 0; order < 20; ++order) {
      std::shuffle(numbers.begin(), numbers.end(), random);
      EXPECT_EQ(sum_of(numbers), expected);
      ExactSum parts[5];
      for (const long double number : numbers) parts[random() % 5].add(number);
      ExactSum sum;
      for (const ExactSum& part : parts) sum.add(part);
      EXPECT_EQ(sum.value(), expected);
    }
    for (const long double number : Numbers(numbers)) numbers.push_back(-number);
    EXPECT_EQ(sum_of(numbers), 0);
  }
}

TEST(ExactSum, HoldsAnyCount) {
  for (const double number : {1.0, -1.0, 0x1.fffffffffffffp31, -0x1.fffffffffffffp900, 3 * kSmallest}) {
    ExactSum sum;
    sum.add(number);
    for (int doubled = 1; doubled <= 60; ++doubled) {
      sum.add(ExactSum(sum));
      ASSERT_EQ(sum.value(), std::ldexp(static_cast<long double>(number), doubled)) << number << ' ' << doubled;
    }
    ExactSum other;
    other.add(-number);
    for (int doubled = 1; doubled <= 60; ++doubled) other.add(ExactSum(other));
    sum.add(number);
    sum.add(other);
    EXPECT_EQ(sum.value(), static_cast<long double>(number));
  }
}

long double to_53_bits(long double number) {
  int exponent = 0;
  const auto mantissa = static_cast<double>(std::frexp(number, &exponent));
  return std::ldexp(static_cast<long double>(mantissa), exponent);
}

TEST(ExactSum, HoldsSquaresOfFloat64) {
  if (!kWide) GTEST_SKIP() << "long double is float64 here";
  const long double large = static_cast<long double>(kLargest) * static_cast<long double>(kLargest);
  const long double small = static_cast<long double>(kSmallest) * static_cast<long double>(kSmallest);
  EXPECT_EQ(sum_of({small, small}), 2 * small);
  EXPECT_EQ(sum_of({large, small, -large}), small);
  EXPECT_EQ(sum_of({-large, -small, large}), -small);
  // 64 bits go in, and 53 come out.
  EXPECT_EQ(sum_of({1 + 0x1p-63L}), 1);
  EXPECT_EQ(sum_of({1 + 0x1p-63L, -1}), 0x1p-63L);
  EXPECT_EQ(sum_of({1 + 0x1p-53L, 0x1p-60L}), 1 + 0x1p-52L);
  EXPECT_EQ(sum_of({1 + 0x1p-53L}), 1);
  EXPECT_EQ(sum_of({1 + 3 * 0x1p-53L}), 1 + 0x1p-51L);
  std::mt19937_64 random(3);
  for (int round = 0; round < 1000; ++round) {
    const long double a = any_finite(random), b = any_finite(random), square = a * a, product = a * b;
    EXPECT_EQ(sum_of({square, product, -square, -product, square}), to_53_bits(square));
    EXPECT_EQ(sum_of({product, square, -square}), to_53_bits(product));
  }
}

TEST(ExactSum, CutsOffWhatIsFinerAndCallsTheRestInfinite) {
  if (!kWide) GTEST_SKIP() << "long double is float64 here";
  EXPECT_EQ(sum_of({0x1p-2176L}), 0x1p-2176L);
  EXPECT_EQ(sum_of({0x1.8p-2176L, 0x1.8p-2176L}), 0x1p-2175L);
  EXPECT_EQ(sum_of({0x1p-2177L}), 0);
  EXPECT_EQ(sum_of({0x1p-9000L, -0x1p-9000L}), 0);
  EXPECT_EQ(sum_of({0x1p2111L, 1}), 0x1p2111L);
  EXPECT_EQ(sum_of({0x1p2112L, 1}), kInfinity);
  EXPECT_EQ(sum_of({-0x1p9000L, 1}), -kInfinity);
}

TEST(ExactSum, IsInfiniteOrNanOnceSomethingWas) {
  const long double nan = std::numeric_limits<long double>::quiet_NaN();
  EXPECT_EQ(sum_of({1, kInfinity, -5, kInfinity}), kInfinity);
  EXPECT_EQ(sum_of({-kInfinity, kLargest}), -kInfinity);
  EXPECT_TRUE(std::isnan(sum_of({kInfinity, -kInfinity, kInfinity})));
  EXPECT_TRUE(std::isnan(sum_of({nan, 1})));
  ExactSum sum, other;
  sum.add(1);
  other.add(kInfinity);
  sum.add(other);
  EXPECT_EQ(sum.value(), kInfinity);
}

}  // namespace
}  // namespace headrace::flow
