// Measuring while converting: the figures are right, and have the same bits however a tensor is cut, in whatever order
// its pieces come and whoever adds them.
#include "flow/piece_errors.hpp"

#include "codec/codec.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace headrace::flow {
namespace {

using Bytes = std::vector<std::byte>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// A tensor before and after.
struct Pair {
  DType from, to;
  std::size_t elements;
  Bytes in, out;
};

Bytes bytes_of_doubles(DType dtype, const std::vector<double>& numbers) {
  Bytes bytes(*bytes_of(dtype, numbers.size()));
  if (dtype == DType::F64) {
    std::memcpy(bytes.data(), numbers.data(), bytes.size());
  } else {
    const std::vector<float> narrow(numbers.begin(), numbers.end());
    codec::encode(dtype, narrow.data(), bytes.data(), narrow.size());
  }
  return bytes;
}

Pair converted(DType from, DType to, const std::vector<double>& numbers) {
  Pair pair{from, to, numbers.size(), bytes_of_doubles(from, numbers), {}};
  pair.out.resize(*bytes_of(to, numbers.size()));
  EXPECT_FALSE(codec::Transcoder(from, to, false).run(pair.in.data(), pair.out.data(), pair.elements));
  return pair;
}

std::vector<double> normal_numbers(std::size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<double> normal(0, 0.02);
  std::vector<double> numbers(n);
  for (double& number : numbers) number = normal(random);
  return numbers;
}

/// The error of some of its elements.
void measure(const Pair& pair, std::size_t first, std::size_t elements, PieceErrors& into) {
  measure_run(pair.from, pair.in.data() + *bytes_of(pair.from, first), pair.to,
              pair.out.data() + *bytes_of(pair.to, first), elements, into);
}

Difference measured(const Pair& pair) {
  PieceErrors errors;
  measure(pair, 0, pair.elements, errors);
  return errors.total();
}

void expect_same(const Difference& actual, const Difference& expected) {
  EXPECT_EQ(actual.squared_error, expected.squared_error);
  EXPECT_EQ(actual.squared, expected.squared);
  EXPECT_EQ(actual.squared_other, expected.squared_other);
  EXPECT_EQ(actual.product, expected.product);
  EXPECT_EQ(actual.largest, expected.largest);
}

constexpr std::size_t kElements = 21 * kErrorTile + 3 * 256;

std::vector<Pair> pairs() {
  const std::vector<double> numbers = normal_numbers(kElements);
  std::vector<double> wild = numbers;  // no two orders of adding these give the same sum
  for (std::size_t i = 0; i < wild.size(); ++i) wild[i] = std::ldexp(wild[i], static_cast<int>(i * 7919 % 230) - 120);
  std::vector<double> wilder = numbers;
  for (std::size_t i = 0; i < wild.size(); ++i)
    wilder[i] = std::ldexp(wild[i], static_cast<int>(i * 7919 % 1600) - 900);
  std::vector<double> broken = numbers;
  broken[5] = kNan, broken[40'000] = -kInfinity;
  return {converted(DType::F16, DType::Q4_K, numbers),  converted(DType::F32, DType::BF16, wild),
          converted(DType::BF16, DType::Q8_0, numbers), converted(DType::F64, DType::F32, wilder),
          converted(DType::F32, DType::F16, broken),    converted(DType::F64, DType::BF16, broken)};
}

std::string title(const Pair& pair) { return std::string(name(pair.from)) + " to " + std::string(name(pair.to)); }

/// Elements side by side.
struct Stretch {
  std::size_t first, elements;
};

/// Cuts at multiples of a tile, `most` tiles or fewer at a time.
std::vector<Stretch> cut(std::size_t elements, std::size_t most, std::mt19937& random) {
  std::vector<Stretch> runs;
  for (std::size_t first = 0; first < elements;) {
    const std::size_t tiles = most == 1 ? 1 : 1 + random() % most;
    runs.push_back({first, std::min(elements - first, tiles * kErrorTile)});
    first += runs.back().elements;
  }
  return runs;
}

TEST(PieceErrors, ForgetsHowATensorWasCutAndInWhichOrder) {
  std::mt19937 random(2);
  for (const Pair& pair : pairs()) {
    SCOPED_TRACE(title(pair));
    const Difference expected = measured(pair);
    EXPECT_GT(expected.squared, 0);
    for (const std::size_t most : {1, 2, 5, 30}) {
      for (int round = 0; round < 5; ++round) {
        std::vector<Stretch> runs = cut(pair.elements, most, random);
        std::shuffle(runs.begin(), runs.end(), random);
        PieceErrors one_by_one, gathered;
        PieceErrors workers[3];
        for (const Stretch& run : runs) {
          PieceErrors piece;
          measure(pair, run.first, run.elements, piece);
          one_by_one.add(piece);
          measure(pair, run.first, run.elements, workers[random() % 3]);
        }
        for (const PieceErrors& worker : workers) gathered.add(worker);
        expect_same(one_by_one.total(), expected);
        expect_same(gathered.total(), expected);
      }
    }
  }
}

TEST(PieceErrors, TakesTilesOnManyThreadsEachItsOwn) {
  for (const Pair& pair : pairs()) {
    SCOPED_TRACE(title(pair));
    const Difference expected = measured(pair);
    constexpr std::size_t kThreads = 4;
    PieceErrors meters[kThreads];
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t first = thread * kErrorTile; first < pair.elements; first += kThreads * kErrorTile)
          measure(pair, first, std::min(kErrorTile, pair.elements - first), meters[thread]);
      });
    }
    for (std::thread& thread : threads) thread.join();
    PieceErrors all;
    for (const PieceErrors& meter : meters) all.add(meter);
    expect_same(all.total(), expected);
  }
}

TEST(PieceErrors, SaysWhatTheDifferenceSays) {
  for (const Pair& pair : pairs()) {
    SCOPED_TRACE(title(pair));
    const Difference sums = measured(pair);
    const Difference expected = difference(pair.from, pair.in.data(), pair.to, pair.out.data(), pair.elements);
    EXPECT_EQ(sums.largest, expected.largest);
    if (expected.largest == kInfinity) {
      EXPECT_EQ(sums.relative_rmse(), kInfinity);
    } else {
      EXPECT_NEAR(sums.relative_rmse() / expected.relative_rmse(), 1, 1e-14);
    }
    EXPECT_NEAR(sums.cosine(), expected.cosine(), 1e-14);
  }
}

TEST(PieceErrors, FindsAnErrorThatIsKnown) {
  std::vector<double> numbers(kElements);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = i % 2 == 0 ? 1 : -1;
  Pair pair{DType::F32, DType::BF16, kElements, bytes_of_doubles(DType::F32, numbers), {}};
  for (double& number : numbers) number *= 1.25;
  numbers[kElements - 1] = -2;
  pair.out = bytes_of_doubles(DType::BF16, numbers);
  const Difference sums = measured(pair);
  const double n = static_cast<double>(kElements - 1);
  EXPECT_EQ(sums.squared_error, n / 16 + 1);
  EXPECT_EQ(sums.squared, n + 1);
  EXPECT_EQ(sums.squared_other, n * 25 / 16 + 4);
  EXPECT_EQ(sums.product, n * 5 / 4 + 2);
  EXPECT_EQ(sums.largest, 1);
}

TEST(PieceErrors, IsAllZerosBeforeAnythingIsAdded) {
  expect_same(PieceErrors().total(), {});
  EXPECT_EQ(PieceErrors().total().relative_rmse(), 0);
  EXPECT_EQ(PieceErrors().total().cosine(), 1);
}

TEST(Difference, HasACosine) {
  const auto cosine = [](DType dtype, const std::vector<double>& a, const std::vector<double>& b) {
    return difference(dtype, bytes_of_doubles(dtype, a).data(), dtype, bytes_of_doubles(dtype, b).data(), a.size())
        .cosine();
  };
  for (const DType dtype : {DType::F32, DType::F64}) {
    EXPECT_EQ(cosine(dtype, {1, 2, 3}, {1, 2, 3}), 1);
    EXPECT_EQ(cosine(dtype, {1, 2, 3}, {-1, -2, -3}), -1);
    EXPECT_EQ(cosine(dtype, {1, 2, 3}, {0.25, 0.5, 0.75}), 1);
    EXPECT_EQ(cosine(dtype, {1, 0}, {0, 5}), 0);
    EXPECT_EQ(cosine(dtype, {0, 0}, {0, 0}), 1);
    EXPECT_EQ(cosine(dtype, {0, 0}, {1, 0}), 0);
    EXPECT_EQ(cosine(dtype, {1, 0}, {0, 0}), 0);
    EXPECT_DOUBLE_EQ(cosine(dtype, {1, 0}, {3, 4}), 0.6);
    EXPECT_EQ(cosine(dtype, {1, kNan, 2}, {1, kNan, 2}), 1);
    EXPECT_DOUBLE_EQ(cosine(dtype, {1, kInfinity, 0}, {3, 1, 4}), 0.6);
  }
  EXPECT_DOUBLE_EQ(cosine(DType::F64, {1e200, 0}, {3e200, 4e200}), 0.6);
  EXPECT_DOUBLE_EQ(cosine(DType::F64, {1e-200, 0}, {3e-200, 4e-200}), 0.6);
}

TEST(Difference, OfIntegersHasACosine) {
  const std::int32_t a[] = {1, 0}, b[] = {3, -4};
  const Difference sums =
      difference(DType::I32, std::as_bytes(std::span(a)).data(), DType::I32, std::as_bytes(std::span(b)).data(), 2);
  EXPECT_EQ(sums.squared_other, 25);
  EXPECT_EQ(sums.product, 3);
  EXPECT_DOUBLE_EQ(sums.cosine(), 0.6);
}

}  // namespace
}  // namespace headrace::flow
