// Every vector kernel against the scalar reference, on every instruction set: the same bytes whatever the numbers, the
// same numbers whatever the bytes, for runs of any length.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <vector>

#include "base/fpu.hpp"
#include "codec/kernel.hpp"
#include "codec/targets.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace headrace::codec {
namespace {

using Bytes = std::vector<std::byte>;
using Numbers = std::vector<float>;

constexpr std::size_t kRun = 21 * 256;  // numbers: whole blocks of every type, and no whole number of vectors of groups
constexpr std::size_t kRowOfWeights = 256;
constexpr std::byte kGuard{0xA5};

std::size_t block_elements(const Row& row) { return info(row.dtype).block_elements; }
std::size_t bytes_for(const Row& row, std::size_t numbers) {
  return numbers / block_elements(row) * info(row.dtype).block_bytes;
}

float normal(std::mt19937& random) { return std::normal_distribution<float>(0, 1.0F / 32)(random); }
std::uint32_t bits(std::mt19937& random) { return static_cast<std::uint32_t>(random()); }

/// A way to make numbers; `group` counts runs of 32.
struct Filling {
  const char* what;
  float (*number)(std::mt19937& random, std::size_t at, std::size_t group);
};

const Filling kFillings[] = {
    {"normal", [](std::mt19937& r, std::size_t, std::size_t) { return normal(r); }},
    {"heavy tails",
     [](std::mt19937& r, std::size_t, std::size_t) { return std::student_t_distribution<float>(1.5F)(r) / 64; }},
    {"constant",
     [](std::mt19937&, std::size_t, std::size_t g) { return g % 3 == 0   ? 0.0F
                                                            : g % 3 == 1 ? 0.7F
                                                                         : -0.7F; }},
    {"nearly constant",
     [](std::mt19937& r, std::size_t, std::size_t g) {
       return (g % 2 == 0 ? 1.0F : -1.0F) + std::ldexp(normal(r), -static_cast<int>(g % 24));
     }},
    {"tiny", [](std::mt19937& r, std::size_t,
                std::size_t g) { return std::ldexp(normal(r), -100 - static_cast<int>(g % 50)); }},
    {"huge",
     [](std::mt19937& r, std::size_t, std::size_t g) { return std::ldexp(normal(r), 10 + static_cast<int>(g % 122)); }},
    {"of every size, a group each",
     [](std::mt19937& r, std::size_t, std::size_t g) {
       return std::ldexp(normal(r), static_cast<int>(g * 7 % 277) - 145);
     }},
    {"of every size, side by side",
     [](std::mt19937& r, std::size_t, std::size_t) {
       return std::ldexp(normal(r), static_cast<int>(bits(r) % 24) - 20);
     }},
    {"denormal", [](std::mt19937& r, std::size_t, std::size_t) { return std::bit_cast<float>(bits(r) & 0x807FFFFF); }},
    {"the smallest denormals",
     [](std::mt19937& r, std::size_t, std::size_t) { return std::bit_cast<float>(bits(r) & 0x8000001F); }},
    {"sparse",
     [](std::mt19937& r, std::size_t, std::size_t) { return r() % 29 == 0  ? normal(r)
                                                            : r() % 2 == 0 ? 0.0F
                                                                           : -0.0F; }},
    {"of one sign",
     [](std::mt19937& r, std::size_t, std::size_t g) { return std::copysign(normal(r), g % 2 == 0 ? 1.0F : -1.0F); }},
    {"one sign and zeros of both",
     [](std::mt19937& r, std::size_t, std::size_t) { return r() % 3 == 0 ? -0.0F : std::max(normal(r), 0.0F); }},
    {"two values",
     [](std::mt19937& r, std::size_t, std::size_t g) {
       const float other = static_cast<float>(g % 41) / 20 - 1;
       return r() % 2 == 0 ? 1.0F : other;
     }},
    {"both signs of one size", [](std::mt19937& r, std::size_t, std::size_t) { return r() % 2 == 0 ? 0.25F : -0.25F; }},
    {"halves of steps",  // beside the largest these meet the rounding as ties
     [](std::mt19937& r, std::size_t at, std::size_t g) {
       const int tops[] = {1, 2, 3, 4, 6, 7, 8, 12, 15, 16, 31, 32, 63, 127};
       const int top = tops[g % std::size(tops)];
       if (at % 16 == g % 16) return static_cast<float>(g % 4 < 2 ? top : -top);
       return static_cast<float>(static_cast<int>(bits(r) % static_cast<unsigned>(4 * top + 1)) - 2 * top) / 2;
     }},
    {"beside halves of steps",
     [](std::mt19937& r, std::size_t at, std::size_t g) {
       const int tops[] = {1, 3, 8, 12, 15, 16, 31, 127};
       const int top = tops[g % std::size(tops)];
       if (at % 16 == g % 16) return static_cast<float>(g % 4 < 2 ? top : -top);
       const float tie =
           static_cast<float>(static_cast<int>(bits(r) % static_cast<unsigned>(4 * top - 1)) - 2 * top + 1) / 2;
       return std::nextafter(tie, r() % 2 == 0 ? 1000.0F : -1000.0F);
     }},
    {"just below powers of two",
     [](std::mt19937& r, std::size_t, std::size_t g) {
       const std::uint32_t exponent = 1 + static_cast<std::uint32_t>(g * 3 % 254);
       return std::bit_cast<float>((bits(r) & 0x80000000U) | (exponent << 23) | (0x7FFFFFU - bits(r) % 80));
     }},
    {"any bits", [](std::mt19937& r, std::size_t, std::size_t) { return std::bit_cast<float>(bits(r)); }},
    {"NaN and infinity among others",
     [](std::mt19937& r, std::size_t at, std::size_t) {
       const float odd[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()};
       return at % 389 == 17 ? odd[r() % std::size(odd)] : normal(r);
     }},
};

Numbers filled(const Filling& filling, std::size_t count) {
  std::mt19937 random(static_cast<std::uint32_t>(count));
  Numbers numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = filling.number(random, i, i / 32);
  return numbers;
}

template <typename Body>
void for_each_vector_encoder(Body body) {
  std::size_t types = 0;
  for (const Row& row : all_rows()) {
    if (row.fast.encode == row.scalar.encode || row.scalar.encode == nullptr) continue;
    SCOPED_TRACE(name(row.dtype));
    body(row);
    ++types;
  }
  EXPECT_GE(types, 16U);
}

template <typename Body>
void for_each_vector_decoder(Body body) {
  std::size_t types = 0;
  for (const Row& row : all_rows()) {
    if (row.fast.decode == row.scalar.decode) continue;
    SCOPED_TRACE(name(row.dtype));
    body(row);
    ++types;
  }
  EXPECT_GE(types, 20U);
}

/// Encodes to a place that no float could be at; what lies around it must stay.
template <typename Encode>
Bytes encoded(const Row& row, std::size_t numbers, Encode encode) {
  Bytes target(bytes_for(row, numbers) + 2, kGuard);
  encode(target.data() + 1);
  EXPECT_EQ(target.front(), kGuard);
  EXPECT_EQ(target.back(), kGuard) << "wrote past the end";
  return {target.begin() + 1, target.end() - 1};
}

void expect_same(const Row& row, const Bytes& actual, const Bytes& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  const auto differ = std::mismatch(actual.begin(), actual.end(), expected.begin()).first - actual.begin();
  const std::size_t block = info(row.dtype).block_bytes, at = static_cast<std::size_t>(differ);
  EXPECT_EQ(at, expected.size()) << "byte " << at % block << " of block " << at / block;
}

void expect_like_reference(const Row& row, const Numbers& numbers) {
  const auto with = [&](EncodeFn encode) {
    return encoded(row, numbers.size(), [&](std::byte* to) { encode(numbers.data(), to, numbers.size()); });
  };
  const Bytes expected = with(row.scalar.encode);
  on_every_target([&] { expect_same(row, with(row.fast.encode), expected); });
}

TEST(VectorEncoders, GiveTheReferencesBytes) {
  for_each_vector_encoder([](const Row& row) {
    for (const Filling& filling : kFillings) {
      SCOPED_TRACE(filling.what);
      expect_like_reference(row, filled(filling, kRun));
    }
  });
}

TEST(VectorEncoders, TakeRunsOfAnyLength) {
  for_each_vector_encoder([](const Row& row) {
    for (std::size_t blocks = 1; blocks <= 35; blocks += blocks < 18 ? 1 : 5) {
      SCOPED_TRACE(blocks);
      expect_like_reference(row, filled(kFillings[blocks % 2], blocks * block_elements(row)));
    }
  });
}

/// What an importance matrix says of the numbers.
struct Importance {
  Numbers of, row_mean_squares;
};

Importance importance_of(const Numbers& numbers, std::uint32_t seed) {
  std::mt19937 random(seed);
  Importance importance;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    // Some don't matter at all, some groups neither, and some matter far more than others.
    const float weight = std::ldexp(std::fabs(normal(random)), static_cast<int>(i / 64 % 31) - 15);
    importance.of.push_back(random() % 13 == 0 || i / 32 % 11 == 7 ? 0.0F : weight);
  }
  for (std::size_t i = 0; i < numbers.size(); i += 32) {
    if (i % kRowOfWeights != 0) {
      importance.row_mean_squares.push_back(importance.row_mean_squares.back());
      continue;
    }
    float squares = 0;
    const std::size_t end = std::min(numbers.size(), i + kRowOfWeights);
    for (std::size_t j = i; j < end; ++j) squares += numbers[j] * numbers[j];
    importance.row_mean_squares.push_back(squares / static_cast<float>(end - i));
  }
  return importance;
}

void expect_like_weighted_reference(const Row& row, const Numbers& numbers) {
  const Importance importance = importance_of(numbers, 3);
  const Weights weights{importance.of.data(), importance.row_mean_squares.data()};
  const auto with = [&](WeightedEncodeFn encode) {
    return encoded(row, numbers.size(), [&](std::byte* to) { encode(numbers.data(), weights, to, numbers.size()); });
  };
  const Bytes expected = with(row.scalar.encode_weighted);
  on_every_target([&] { expect_same(row, with(row.fast.encode_weighted), expected); });
}

TEST(VectorEncoders, GiveTheReferencesBytesWithWeights) {
  for_each_vector_encoder([](const Row& row) {
    if (row.fast.encode_weighted == row.scalar.encode_weighted) return;
    for (const Filling& filling : kFillings) {
      SCOPED_TRACE(filling.what);
      expect_like_weighted_reference(row, filled(filling, kRun));
    }
    for (std::size_t blocks = 1; blocks <= 17; ++blocks) {
      SCOPED_TRACE(blocks);
      expect_like_weighted_reference(row, filled(kFillings[0], blocks * block_elements(row)));
    }
  });
}

#if defined(__SSE__)
TEST(VectorEncoders, DontDependOnTheHostsFloatMode) {
  for_each_vector_encoder([](const Row& row) {
    for (const Filling& filling : kFillings) {
      SCOPED_TRACE(filling.what);
      const Numbers numbers = filled(filling, std::size_t{3} * 256);
      const auto with = [&](EncodeFn encode) {
        return encoded(row, numbers.size(), [&](std::byte* to) { encode(numbers.data(), to, numbers.size()); });
      };
      const Bytes expected = with(row.scalar.encode);
      on_every_target([&] {
        const unsigned before = _mm_getcsr();
        _mm_setcsr(before | 0x8040 | 0x6000);  // flush both ways, round towards zero
        Bytes actual;
        {
          const base::FloatMode mode;  // as every worker has it
          actual = with(row.fast.encode);
        }
        _mm_setcsr(before);
        expect_same(row, actual, expected);
      });
    }
  });
}
#endif

Numbers decoded(DecodeFn decode, const std::byte* bytes, std::size_t count) {
  Numbers numbers(count + 2, 5.0F);
  decode(bytes, numbers.data() + 1, count);
  EXPECT_EQ(numbers.front(), 5.0F);
  EXPECT_EQ(numbers.back(), 5.0F) << "wrote past the end";
  return {numbers.begin() + 1, numbers.end() - 1};
}

void expect_same_numbers(const Row& row, const Bytes& bytes) {
  const std::size_t count = (bytes.size() - 1) / info(row.dtype).block_bytes * block_elements(row);
  const Numbers expected = decoded(row.scalar.decode, bytes.data() + 1, count);
  on_every_target([&] {
    const Numbers actual = decoded(row.fast.decode, bytes.data() + 1, count);
    std::size_t at = 0;
    while (at < count && std::bit_cast<std::uint32_t>(actual[at]) == std::bit_cast<std::uint32_t>(expected[at])) ++at;
    EXPECT_EQ(at, count) << "number " << at % block_elements(row) << " of block " << at / block_elements(row);
  });
}

/// Any bytes, from the second on: the first is there so that they lie at an odd address.
Bytes any_bytes(const Row& row, std::size_t blocks) {
  std::mt19937 random(static_cast<std::uint32_t>(blocks));
  Bytes bytes(blocks * info(row.dtype).block_bytes + 1);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xFF);
  return bytes;
}

TEST(VectorDecoders, GiveTheReferencesNumbers) {
  for_each_vector_decoder([](const Row& row) {
    expect_same_numbers(row, any_bytes(row, 1024));
    for (std::size_t blocks = 1; blocks <= 35; ++blocks) expect_same_numbers(row, any_bytes(row, blocks));
  });
}

TEST(VectorDecoders, TakeEveryScale) {
  constexpr std::uint32_t kScales = 65536;
  for_each_vector_decoder([](const Row& row) {
    if (!is_block(row.dtype)) return;
    // A scale of 16 bits comes first, second or last; each pattern of 16 bits in one of the places, by turns.
    const std::size_t size = info(row.dtype).block_bytes;
    const std::size_t places[] = {0, 2, size - 4, size - 2};
    for (std::uint32_t first = 0; first < kScales; first += 4096) {
      Bytes bytes = any_bytes(row, 4096 / std::size(places));
      for (std::uint32_t i = 0; i < 4096; ++i) {
        const auto scale = static_cast<std::uint16_t>(first + i);
        const std::size_t place = places[(i + first / 4096) % std::size(places)];
        std::memcpy(bytes.data() + 1 + i / std::size(places) * size + place, &scale, sizeof scale);
      }
      expect_same_numbers(row, bytes);
    }
  });
}

}  // namespace
}  // namespace headrace::codec
