// What holds for every block type: any bytes decode, any numbers encode, blocks don't see each other, and the check
// lets through what a block can hold and nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "codec/codec.hpp"
#include "codec/kernel.hpp"
#include "codec/targets.hpp"

namespace headrace::codec {
namespace {

using Bytes = std::vector<std::byte>;
using Numbers = std::vector<float>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kMost = std::numeric_limits<float>::max();

std::size_t block_elements(const Row& row) { return info(row.dtype).block_elements; }
std::size_t block_bytes(const Row& row) { return info(row.dtype).block_bytes; }

template <typename Body>
void for_each_block_type(Body body) {
  std::size_t types = 0;
  for (const Row& row : all_rows()) {
    if (!is_block(row.dtype)) continue;
    SCOPED_TRACE(name(row.dtype));
    body(row);
    ++types;
  }
  EXPECT_GE(types, 12U);
}

/// The same for those that are made here too.
template <typename Body>
void for_each_made_type(Body body) {
  for_each_block_type([&](const Row& row) {
    if (row.scalar.encode != nullptr) body(row);
  });
}

bool same_bits(const Numbers& a, const Numbers& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Calls `encode` with a place that no float could be at, with something else in it before.
template <typename Encode>
Bytes encoded_by(const Row& row, std::size_t count, std::byte before, Encode encode) {
  const std::size_t bytes = count / block_elements(row) * block_bytes(row);
  Bytes target(bytes + 2, before);
  encode(target.data() + 1);
  EXPECT_EQ(target.front(), before);
  EXPECT_EQ(target.back(), before) << "wrote past the end";
  return {target.begin() + 1, target.end() - 1};
}

Bytes encoded(const Row& row, EncodeFn encode, const float* numbers, std::size_t count, std::byte before) {
  return encoded_by(row, count, before, [&](std::byte* target) { encode(numbers, target, count); });
}

Numbers decoded(const Row& row, DecodeFn decode, const Bytes& bytes, float before = 0) {
  Numbers numbers(bytes.size() / block_bytes(row) * block_elements(row), before);
  Bytes shifted(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  decode(shifted.data() + 1, numbers.data(), numbers.size());
  return numbers;
}

/// A way to fill blocks: `at` counts numbers, and `block` blocks.
struct Filling {
  const char* what;
  float (*number)(std::mt19937& random, std::size_t at, std::size_t block);
};

float normal(std::mt19937& random) { return std::normal_distribution<float>()(random); }

const Filling kFillings[] = {
    {"any bits", [](std::mt19937& r, std::size_t, std::size_t) { return std::bit_cast<float>(std::uint32_t(r())); }},
    {"weights", [](std::mt19937& r, std::size_t, std::size_t) { return normal(r) / 32; }},
    {"every size", [](std::mt19937& r, std::size_t,
                      std::size_t block) { return std::ldexp(normal(r), static_cast<int>(block * 7 % 277) - 149); }},
    {"denormals", [](std::mt19937& r, std::size_t,
                     std::size_t) { return std::bit_cast<float>(static_cast<std::uint32_t>(r() & 0x807FFFFF)); }},
    {"the largest", [](std::mt19937& r, std::size_t, std::size_t) { return r() % 2 == 0 ? kMost : -kMost; }},
    {"one NaN in a while",
     [](std::mt19937& r, std::size_t at, std::size_t) { return at % 37 == 5 ? kNan : normal(r); }},
    {"all NaN", [](std::mt19937&, std::size_t, std::size_t block) { return block % 2 == 0 ? kNan : -kNan; }},
    {"infinities",
     [](std::mt19937& r, std::size_t at, std::size_t block) {
       const float infinity = block % 2 == 0 ? kInfinity : -kInfinity;
       return at % 61 == 3 || block % 5 == 4 ? infinity : normal(r);
     }},
    {"of all kinds",
     [](std::mt19937& r, std::size_t, std::size_t) {
       const float kinds[] = {kNan, kInfinity, -kInfinity, kMost, -kMost, 0.0F, -0.0F, 1e-45F, 1.0F, normal(r)};
       return kinds[r() % std::size(kinds)];
     }},
    {"one number over and over",
     [](std::mt19937&, std::size_t, std::size_t block) { return std::ldexp(block % 2 == 0 ? 1.7F : -1.7F, 3); }},
};

Numbers filled(const Filling& filling, std::size_t blocks, std::size_t block_size) {
  std::mt19937 random(static_cast<std::uint32_t>(block_size));
  Numbers numbers(blocks * block_size);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = filling.number(random, i, i / block_size);
  return numbers;
}

/// The importance of the numbers of a block: each block has another of these kinds.
float importance(std::mt19937& random, std::size_t at, std::size_t block) {
  const float any = std::uniform_real_distribution<float>()(random);
  switch (block % 9) {
    case 0: return any * any;
    case 1: return 0;
    case 2: return random() % 3 == 0 ? any : 0;
    case 3: return 1;
    case 4: return at % 16 == block % 16 ? 1.0F : 0.0F;
    case 5: return std::numeric_limits<float>::denorm_min();
    case 6: return std::ldexp(any, static_cast<int>(random() % 60) - 30);
    case 7: return std::bit_cast<float>(static_cast<std::uint32_t>(random() % 0x7F800000U));
    default: return kMost;
  }
}

/// Numbers as one row, and what they weigh.
struct Weighted {
  Numbers numbers, importances, mean_squares;

  Weighted(Numbers row, std::size_t block_size) : numbers(std::move(row)) {
    std::mt19937 random(7);
    for (std::size_t i = 0; i < numbers.size(); ++i) importances.push_back(importance(random, i, i / block_size));
    RowSquares squares;
    squares.add(numbers.data(), numbers.size());
    mean_squares.assign(numbers.size() / 32, squares.mean());
  }

  /// Makes importances of which the sums can't overflow.
  void hold_back() {
    const auto is_huge = [](float weight) { return weight > 1e9F; };
    std::replace_if(importances.begin(), importances.end(), is_huge, 1.0F);
  }

  std::size_t size() const { return numbers.size(); }
  /// The row's means only where the type needs them.
  Weights weights(const Row& row, std::size_t from = 0) const {
    return {importances.data() + from, uses_row_mean_squares(row.dtype) ? mean_squares.data() + from / 32 : nullptr};
  }
};

Bytes encoded(const Row& row, WeightedEncodeFn encode, const Weighted& run, std::byte before) {
  return encoded_by(row, run.size(), before,
                    [&](std::byte* target) { encode(run.numbers.data(), run.weights(row), target, run.size()); });
}

template <typename Body>
void for_each_weighted_type(Body body) {
  std::size_t types = 0;
  for_each_made_type([&](const Row& row) {
    EXPECT_EQ(row.fast.encode_weighted != nullptr, uses_weights(row.dtype));
    EXPECT_EQ(row.scalar.encode_weighted != nullptr, uses_weights(row.dtype));
    if (!uses_weights(row.dtype)) return;
    body(row);
    ++types;
  });
  EXPECT_EQ(types, 11U);
}

TEST(Blocks, AnyBytesDecodeToTheSameNumbersEveryTime) {
  std::mt19937 random(1);
  for_each_block_type([&](const Row& row) {
    Bytes bytes(300 * block_bytes(row));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xFF);
    for (const std::byte all : {std::byte{0}, std::byte{0xFF}, std::byte{0x7F}, std::byte{0x80}}) {
      bytes.insert(bytes.end(), 3 * block_bytes(row), all);
    }
    const Numbers numbers = decoded(row, row.scalar.decode, bytes, 0.0F);
    EXPECT_TRUE(same_bits(decoded(row, row.scalar.decode, bytes, 5.0F), numbers)) << "some number isn't written";
    on_every_target([&] { EXPECT_TRUE(same_bits(decoded(row, row.fast.decode, bytes, 5.0F), numbers)); });
  });
}

TEST(Blocks, AnyNumbersEncodeToTheSameBytesEveryTime) {
  for_each_made_type([](const Row& row) {
    for (const Filling& filling : kFillings) {
      SCOPED_TRACE(filling.what);
      const Numbers numbers = filled(filling, 40, block_elements(row));
      const Bytes bytes = encoded(row, row.scalar.encode, numbers.data(), numbers.size(), std::byte{0});
      EXPECT_EQ(encoded(row, row.scalar.encode, numbers.data(), numbers.size(), std::byte{0xFF}), bytes)
          << "some bit isn't written";
      on_every_target(
          [&] { EXPECT_EQ(encoded(row, row.fast.encode, numbers.data(), numbers.size(), std::byte{0xA5}), bytes); });
      (void)decoded(row, row.scalar.decode, bytes);  // whatever these bytes are, they can be read
    }
  });
}

TEST(Blocks, AnyNumbersOfAnyWeightEncodeToTheSameBytesEveryTime) {
  for_each_weighted_type([](const Row& row) {
    const std::size_t size = block_elements(row);
    for (const Filling& filling : kFillings) {
      SCOPED_TRACE(filling.what);
      const Weighted run(filled(filling, size == 32 ? 90 : 27, size), size);
      const Bytes bytes = encoded(row, row.scalar.encode_weighted, run, std::byte{0});
      EXPECT_EQ(encoded(row, row.scalar.encode_weighted, run, std::byte{0xFF}), bytes) << "some bit isn't written";
      on_every_target([&] { EXPECT_EQ(encoded(row, row.fast.encode_weighted, run, std::byte{0xA5}), bytes); });
      (void)decoded(row, row.scalar.decode, bytes);
    }
  });
}

TEST(Blocks, DontSeeTheirNeighboursWeights) {
  for_each_weighted_type([](const Row& row) {
    const std::size_t size = block_elements(row);
    for (const Filling& filling : kFillings) {
      SCOPED_TRACE(filling.what);
      const Weighted run(filled(filling, 9, size), size);
      Bytes alone;
      for (std::size_t at = 0; at < run.size(); at += size) {
        const Bytes bytes = encoded_by(row, size, std::byte{0}, [&](std::byte* target) {
          encode_weighted(row.dtype, run.numbers.data() + at, run.weights(row, at), target, size);
        });
        alone.insert(alone.end(), bytes.begin(), bytes.end());
      }
      EXPECT_EQ(encoded(row, row.fast.encode_weighted, run, std::byte{0}), alone);
    }
  });
}

TEST(Blocks, DontSeeTheirNeighbours) {
  for_each_made_type([](const Row& row) {
    const std::size_t size = block_elements(row);
    for (const Filling& filling : kFillings) {
      SCOPED_TRACE(filling.what);
      const Numbers numbers = filled(filling, 3, size);
      Bytes alone;
      for (std::size_t block = 0; block < 3; ++block) {
        const Bytes bytes = encoded(row, row.fast.encode, numbers.data() + block * size, size, std::byte{0});
        alone.insert(alone.end(), bytes.begin(), bytes.end());
      }
      EXPECT_EQ(encoded(row, row.fast.encode, numbers.data(), 3 * size, std::byte{0}), alone);
    }
  });
}

TEST(Blocks, ZerosStayZeros) {
  for_each_made_type([](const Row& row) {
    for (const float zero : {0.0F, -0.0F}) {
      Numbers numbers(5 * block_elements(row), zero);
      for (int again = 0; again < 3; ++again) {
        const Bytes bytes = encoded(row, row.fast.encode, numbers.data(), numbers.size(), std::byte{0xFF});
        numbers = decoded(row, row.fast.decode, bytes, 5.0F);
        EXPECT_EQ(std::count(numbers.begin(), numbers.end(), 0.0F), static_cast<std::ptrdiff_t>(numbers.size()));
      }
    }
  });
}

TEST(Blocks, ZerosOfAnyWeightStayZeros) {
  for_each_weighted_type([](const Row& row) {
    for (const float zero : {0.0F, -0.0F}) {
      const Weighted run(Numbers(9 * block_elements(row), zero), block_elements(row));
      const Bytes bytes = encoded(row, row.fast.encode_weighted, run, std::byte{0xFF});
      const Numbers values = decoded(row, row.fast.decode, bytes, 5.0F);
      EXPECT_EQ(std::count(values.begin(), values.end(), 0.0F), static_cast<std::ptrdiff_t>(values.size()));
    }
  });
}

/// The squared error of each number times its importance, over all.
double weighted_error(const Row& row, const Weighted& run, const Bytes& bytes) {
  const Numbers values = decoded(row, row.scalar.decode, bytes);
  double error = 0;
  for (std::size_t i = 0; i < run.size(); ++i) {
    const double difference = static_cast<double>(values[i]) - static_cast<double>(run.numbers[i]);
    error += difference * difference * static_cast<double>(run.importances[i]);
  }
  return error;
}

TEST(Blocks, WeightsMakeTheImportantNumbersBetter) {
  for_each_weighted_type([](const Row& row) {
    std::mt19937 random(8);
    Numbers numbers(50 * 256);
    for (float& number : numbers) number = normal(random) / 32;
    Weighted run(numbers, block_elements(row));
    for (std::size_t i = 0; i < run.size(); ++i) run.importances[i] = i % 5 == 0 ? 100.0F : 1.0F;
    const Bytes with = encoded(row, row.fast.encode_weighted, run, std::byte{0});
    const Bytes without = encoded(row, row.fast.encode, numbers.data(), numbers.size(), std::byte{0});
    EXPECT_LT(weighted_error(row, run, with), 0.95 * weighted_error(row, run, without));
  });
}

TEST(Blocks, TheSquaresOfARowAddUpTheSameHoweverItIsCut) {
  std::mt19937 random(9);
  Numbers row(1000);
  for (float& number : row) number = normal(random);
  float sum = 0;
  for (const float number : row) sum += number * number;
  for (const std::size_t step : {1U, 7U, 256U, 1000U}) {
    RowSquares squares;
    for (std::size_t at = 0; at < row.size(); at += step) {
      squares.add(row.data() + at, std::min(step, row.size() - at));
    }
    EXPECT_EQ(squares.mean(), sum / 1000);
  }
  for (const float first : {kNan, -kNan}) {  // of several NaN the first gives the sign
    row[3] = first;
    row[500] = -first;
    RowSquares squares;
    squares.add(row.data(), 400);
    squares.add(row.data() + 400, 600);
    EXPECT_TRUE(std::isnan(squares.mean()));
    EXPECT_EQ(std::signbit(squares.mean()), std::signbit(first));
  }
}

TEST(Blocks, ARunOfManyTilesKeepsItsWeightsBesideItsNumbers) {
  for_each_made_type([](const Row& row) {
    const std::size_t size = block_elements(row);
    Weighted run(filled(kFillings[1], 6400 / size, size), size);
    run.hold_back();
    for (std::size_t i = 0; i < run.mean_squares.size(); ++i) run.mean_squares[i] *= static_cast<float>(i % 7);
    const Weights weights = run.weights(row);
    const Bytes expected = uses_weights(row.dtype)
                               ? encoded(row, row.fast.encode_weighted, run, std::byte{0})
                               : encoded(row, row.fast.encode, run.numbers.data(), run.size(), std::byte{0});
    for (const std::size_t shift : {0U, 1U}) {
      Bytes source(run.size() * sizeof(float) + shift);
      std::memcpy(source.data() + shift, run.numbers.data(), run.size() * sizeof(float));
      const Bytes bytes = encoded_by(row, run.size(), std::byte{0xA5}, [&](std::byte* target) {
        const Transcoder transcoder(DType::F32, row.dtype, true);
        EXPECT_FALSE(transcoder.run(source.data() + shift, target, run.size(), &weights));
      });
      EXPECT_EQ(bytes, expected);
    }
  });
}

std::optional<BadValue> check(const Row& row, const Numbers& numbers, Bytes& bytes, const Weights* weights = nullptr) {
  bytes.assign(numbers.size() / block_elements(row) * block_bytes(row), std::byte{0});
  const Transcoder transcoder(DType::F32, row.dtype, true);
  return transcoder.run(reinterpret_cast<const std::byte*>(numbers.data()), bytes.data(), numbers.size(), weights);
}

TEST(Blocks, TheCheckRefusesWhatNoBlockCanHold) {
  for_each_made_type([](const Row& row) {
    const std::size_t size = block_elements(row);
    const float first = std::bit_cast<float>(row.bad.first);
    for (const float bad : {kNan, -kNan, kInfinity, -kInfinity, first, -first}) {
      for (const std::size_t at : {std::size_t{0}, size - 1, 2 * size + 3}) {
        Numbers numbers(3 * size, 0.5F);
        numbers[at] = bad;
        Bytes bytes;
        const auto found = check(row, numbers, bytes);
        ASSERT_TRUE(found) << bad << " at " << at;
        EXPECT_EQ(found->element, at);
      }
    }
  });
}

/// Ways to fill a block with numbers of at most `top` that could make its scales large.
const Filling kLargeFillings[] = {
    {"all of one sign", [](std::mt19937&, std::size_t, std::size_t block) { return block % 2 == 0 ? 1.0F : -1.0F; }},
    {"of either sign", [](std::mt19937& r, std::size_t, std::size_t) { return r() % 2 == 0 ? 1.0F : -1.0F; }},
    {"one among zeros",
     [](std::mt19937&, std::size_t at, std::size_t block) {
       return at % 32 != block % 32 ? 0.0F : block % 2 == 0 ? 1.0F : -1.0F;
     }},
    {"one among others",
     [](std::mt19937& r, std::size_t at, std::size_t block) {
       const float other = std::uniform_real_distribution<float>(-1, 1)(r);
       return at % 16 != block % 16 ? other : block % 2 == 0 ? 1.0F : -1.0F;
     }},
    {"nearly equal",
     [](std::mt19937& r, std::size_t, std::size_t block) {
       const float below = std::ldexp(static_cast<float>(r() % 256), -static_cast<int>(8 + block % 17));
       return block % 2 == 0 ? 1 - below : below - 1;
     }},
    {"one above many that nearly agree",
     [](std::mt19937& r, std::size_t at, std::size_t block) {
       const float distance = static_cast<float>(block % 97) / 97;
       const float noise = static_cast<float>(r() % 8) / (1 << 23);
       return at % 16 == block % 16 ? 1.0F : 1 - 0.4F * distance * distance - noise;
     }},
    {"two values",
     [](std::mt19937& r, std::size_t, std::size_t block) {
       const float other = static_cast<float>(block % 41) / 20 - 1;
       return r() % 16 < block % 16 ? 1.0F : other;
     }},
};

TEST(Blocks, WhatTheCheckLetsThroughStaysFinite) {
  for_each_made_type([](const Row& row) {
    const float top = std::bit_cast<float>(row.bad.first - 1);
    for (const Filling& filling : kLargeFillings) {
      SCOPED_TRACE(filling.what);
      Numbers numbers = filled(filling, 600, block_elements(row));
      for (float& number : numbers) number *= top;
      Bytes bytes;
      ASSERT_FALSE(check(row, numbers, bytes));
      const Numbers values = decoded(row, row.fast.decode, bytes);
      EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }));
    }
  });
}

/// Checks and encodes a block with its weights, expects finite numbers or a refusal that names one, and returns whether
/// it was refused.
bool refused(const Row& row, const Weighted& all, std::size_t at) {
  const auto from = all.numbers.begin() + static_cast<std::ptrdiff_t>(at);
  const Numbers numbers(from, from + static_cast<std::ptrdiff_t>(block_elements(row)));
  const Weights weights = all.weights(row, at);
  Bytes bytes;
  if (const auto bad = check(row, numbers, bytes, &weights)) {
    EXPECT_EQ(static_cast<float>(bad->value), numbers.at(bad->element));
    return true;
  }
  const Numbers values = decoded(row, row.fast.decode, bytes);
  EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }));
  return false;
}

TEST(Blocks, WhatTheCheckLetsThroughWithWeightsStaysFinite) {
  std::size_t refusals = 0;
  for_each_weighted_type([&](const Row& row) {
    const std::size_t size = block_elements(row);
    for (const Filling& filling : kLargeFillings) {
      SCOPED_TRACE(filling.what);
      for (const float top : {std::bit_cast<float>(row.bad.first - 1), 0.999F}) {
        Numbers numbers = filled(filling, 144, size);
        for (float& number : numbers) number *= top;
        Weighted all(numbers, size);
        if (top < 1) all.hold_back();
        for (std::size_t at = 0; at < all.size(); at += size) {
          const bool large = refused(row, all, at);
          EXPECT_FALSE(large && top < 1) << "small numbers are never too large";
          if (large) ++refusals;
        }
      }
    }
  });
  EXPECT_GT(refusals, 0U) << "nothing here needs the look at what was made";
}

}  // namespace
}  // namespace headrace::codec
