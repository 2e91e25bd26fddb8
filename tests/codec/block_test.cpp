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

/// Encodes to a place that no float could be at, with something else in it before.
Bytes encoded(const Row& row, EncodeFn encode, const float* numbers, std::size_t count, std::byte before) {
  const std::size_t bytes = count / block_elements(row) * block_bytes(row);
  Bytes target(bytes + 2, before);
  encode(numbers, target.data() + 1, count);
  EXPECT_EQ(target.front(), before);
  EXPECT_EQ(target.back(), before) << "wrote past the end";
  return {target.begin() + 1, target.end() - 1};
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

std::optional<BadValue> check(const Row& row, const Numbers& numbers, Bytes& bytes) {
  bytes.assign(numbers.size() / block_elements(row) * block_bytes(row), std::byte{0});
  const Transcoder transcoder(DType::F32, row.dtype, true);
  return transcoder.run(reinterpret_cast<const std::byte*>(numbers.data()), bytes.data(), numbers.size());
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

}  // namespace
}  // namespace headrace::codec
