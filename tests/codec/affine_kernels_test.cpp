// The searches for a scale and an offset: the vector kernels against the scalar reference, on numbers made to be
// difficult, with weights and without.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "codec/kernel.hpp"
#include "codec/targets.hpp"

namespace headrace::codec {
namespace {

constexpr std::size_t kSuperBlock = 256;
constexpr DType kTypes[] = {DType::Q2_K, DType::Q4_K, DType::Q5_K};
/// With weights the search serves these too; without, they take the ends of their blocks.
constexpr DType kWeightedTypes[] = {DType::Q2_K, DType::Q4_K, DType::Q5_K, DType::Q4_1, DType::Q5_1};

using Random = std::mt19937;
using Encode = std::function<void(const Kernels&, std::byte*)>;

/// Encodes with the reference and on every target; the bytes must be the same.
void compare(const Row& row, std::size_t elements, const Encode& encode) {
  const std::size_t block_bytes = info(row.dtype).block_bytes;
  std::vector<std::byte> expected(elements / info(row.dtype).block_elements * block_bytes);
  encode(row.scalar, expected.data());
  on_every_target([&] {
    std::vector<std::byte> actual(expected.size());
    encode(row.fast, actual.data());
    const auto differ = std::mismatch(actual.begin(), actual.end(), expected.begin()).first - actual.begin();
    EXPECT_EQ(static_cast<std::size_t>(differ), expected.size())
        << "block " << static_cast<std::size_t>(differ) / block_bytes;
  });
}

void expect_like_reference(const std::vector<float>& numbers) {
  ASSERT_EQ(numbers.size() % kSuperBlock, 0U);
  for (const DType dtype : kTypes) {
    SCOPED_TRACE(name(dtype));
    compare(*find_row(dtype), numbers.size(),
            [&](const Kernels& kernels, std::byte* dst) { kernels.encode(numbers.data(), dst, numbers.size()); });
  }
}

/// The same with weights, one a number. Every block is taken for a row of its own.
void expect_like_reference(const std::vector<float>& numbers, const std::vector<float>& importance) {
  ASSERT_EQ(numbers.size() % kSuperBlock, 0U);
  ASSERT_EQ(numbers.size(), importance.size());
  std::vector<float> mean_squares;
  for (std::size_t i = 0; i < numbers.size(); i += 32) {
    float sum = 0;
    for (std::size_t j = i; j < i + 32; ++j) sum += numbers[j] * numbers[j];
    mean_squares.push_back(sum / 32);
  }
  const Weights weights{importance.data(), mean_squares.data()};
  for (const DType dtype : kWeightedTypes) {
    SCOPED_TRACE(std::string(name(dtype)) + " with weights");
    compare(*find_row(dtype), numbers.size(), [&](const Kernels& kernels, std::byte* dst) {
      kernels.encode_weighted(numbers.data(), weights, dst, numbers.size());
    });
  }
}

float normal(Random& random) { return std::normal_distribution<float>()(random); }
float any_bits(Random& random) { return std::bit_cast<float>(static_cast<std::uint32_t>(random())); }

/// A kind of numbers: number i of group `group` of 16.
struct Kind {
  const char* name;
  float (*number)(Random& random, std::size_t group);
};

constexpr Kind kKinds[] = {
    {"normal", [](Random& random, std::size_t) { return normal(random) * 0.02F; }},
    {"heavy tails", [](Random& random, std::size_t) { return std::pow(normal(random), 5.0F); }},
    {"not negative", [](Random& random, std::size_t) { return std::fabs(normal(random)); }},
    {"not positive", [](Random& random, std::size_t) { return -std::fabs(normal(random)); }},
    {"constant groups",
     [](Random& random, std::size_t group) {
       return group % 3 == 0 ? normal(random) : static_cast<float>(group / 2 % 5) - 2;
     }},
    {"all sizes",  // denormals, and scales that F16 can't hold, among them
     [](Random& random, std::size_t group) {
       return std::ldexp(normal(random), static_cast<int>(group / 16 % 280) - 150);
     }},
    {"another size in each group",
     [](Random& random, std::size_t group) {
       return std::ldexp(normal(random), static_cast<int>(group * 7 % 40) - 30);
     }},
    {"denormal", [](Random& random, std::size_t) { return normal(random) * 1e-40F; }},
    {"near the largest", [](Random& random, std::size_t) { return normal(random) * 1e38F; }},
    {"sparse", [](Random& random, std::size_t) { return random() % 16 == 0 ? normal(random) : 0; }},
    {"zeros of either sign", [](Random& random, std::size_t) { return random() % 2 == 0 ? 0.0F : -0.0F; }},
    {"two values", [](Random& random, std::size_t) { return random() % 2 == 0 ? -0.25F : 0.75F; }},
    {"ties", [](Random& random, std::size_t) { return static_cast<float>(static_cast<int>(random() % 33) - 16) / 2; }},
    {"nearly equal, far from zero",
     [](Random& random, std::size_t group) {
       return -1000 + normal(random) * std::ldexp(1.0F, -static_cast<int>(group % 32));
     }},
    {"any bits", [](Random& random, std::size_t) { return any_bits(random); }},
    {"any bits but of the top exponents",
     [](Random& random, std::size_t) {
       return std::bit_cast<float>(static_cast<std::uint32_t>(random()) & 0xBFFFFFFFU);
     }},
    {"NaN and infinity here and there",
     [](Random& random, std::size_t) {
       if (random() % 2000 != 0) return normal(random);
       const float infinity = std::numeric_limits<float>::infinity();
       return random() % 2 == 0 ? -infinity : std::numeric_limits<float>::quiet_NaN();
     }},
};

/// Kinds of weights. They are finite and not negative.
constexpr Kind kImportances[] = {
    {"equal", [](Random&, std::size_t) { return 1.0F; }},
    {"squares", [](Random& random, std::size_t) { return std::pow(normal(random), 2.0F); }},
    {"zero groups", [](Random& random, std::size_t group) { return group % 3 == 0 ? 0 : std::fabs(normal(random)); }},
    {"sparse", [](Random& random, std::size_t) { return random() % 8 == 0 ? std::fabs(normal(random)) : 0; }},
    {"zero", [](Random&, std::size_t) { return 0.0F; }},
    {"all sizes", [](Random& random,
                     std::size_t) { return std::bit_cast<float>(static_cast<std::uint32_t>(random()) % 0x7F800000U); }},
};

std::vector<float> make(const Kind& kind, std::size_t blocks, Random::result_type seed) {
  Random random(seed);
  std::vector<float> numbers(blocks * kSuperBlock);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = kind.number(random, i / 16);
  return numbers;
}

TEST(AffineKernels, AreInTheTable) {
  for (const DType dtype : kTypes) EXPECT_NE(find_row(dtype)->fast.encode, find_row(dtype)->scalar.encode);
  for (const DType dtype : kWeightedTypes) {
    EXPECT_NE(find_row(dtype)->fast.encode_weighted, find_row(dtype)->scalar.encode_weighted);
  }
}

TEST(AffineKernels, EveryKindOfNumbers) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    expect_like_reference(make(kind, 301, 1));
  }
}

TEST(AffineKernels, EveryKindOfNumbersAndWeights) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const std::vector<float> numbers = make(kind, 25, 2);
    for (const Kind& importance : kImportances) {
      SCOPED_TRACE(importance.name);
      expect_like_reference(numbers, make(importance, 25, 3));
    }
  }
}

TEST(AffineKernels, AnyNumberOfBlocks) {
  for (std::size_t blocks = 1; blocks <= 17; ++blocks) {
    SCOPED_TRACE(blocks);
    const std::vector<float> numbers = make(kKinds[0], blocks, 4);
    expect_like_reference(numbers);
    expect_like_reference(numbers, make(kImportances[1], blocks, 5));
  }
  // Blocks of 32, of which a run need not hold a whole superblock.
  const std::vector<float> numbers = make(kKinds[0], 1, 6), importance = make(kImportances[1], 1, 7);
  const std::vector<float> mean_squares(numbers.size() / 32, 4e-4F);
  for (std::size_t n = 32; n <= numbers.size(); n += 32) {
    for (const DType dtype : {DType::Q4_1, DType::Q5_1}) {
      compare(*find_row(dtype), n, [&](const Kernels& kernels, std::byte* dst) {
        kernels.encode_weighted(numbers.data(), {importance.data(), mean_squares.data()}, dst, n);
      });
    }
  }
}

TEST(AffineKernels, OneStrangeNumberLeavesTheOtherBlocksAlone) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const float strange : {nan, -nan, infinity, -infinity, 3e38F}) {
    for (const std::size_t at : {std::size_t{0}, kSuperBlock + 37, 7 * kSuperBlock + 255}) {
      std::vector<float> numbers = make(kKinds[0], 8, 8);
      numbers[at] = strange;
      expect_like_reference(numbers);
      expect_like_reference(numbers, make(kImportances[1], 8, 9));
    }
  }
}

TEST(AffineKernels, NothingIsReadOrWrittenBeyondTheRun) {
  // Of the heap, so that a sanitizer sees it; and the bytes after the run stay as they were.
  const std::vector<float> numbers = make(kKinds[0], 3, 10), importance = make(kImportances[1], 3, 11);
  const std::vector<float> mean_squares(numbers.size() / 32, 4e-4F);
  for (const DType dtype : kWeightedTypes) {
    const Row& row = *find_row(dtype);
    const std::size_t bytes = numbers.size() / info(dtype).block_elements * info(dtype).block_bytes;
    on_every_target([&] {
      std::vector<std::byte> out(bytes + 64, std::byte{0xA5});
      row.fast.encode(numbers.data(), out.data(), numbers.size());
      row.fast.encode_weighted(numbers.data(), {importance.data(), mean_squares.data()}, out.data(), numbers.size());
      const auto first = out.begin() + static_cast<std::ptrdiff_t>(bytes);
      EXPECT_TRUE(std::all_of(first, out.end(), [](std::byte byte) { return byte == std::byte{0xA5}; }));
    });
  }
}

}  // namespace
}  // namespace headrace::codec
