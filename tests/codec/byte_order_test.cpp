#include "codec/byte_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace headrace::codec {
namespace {

std::vector<std::byte> random_bytes(std::size_t size) {
  std::mt19937 random(1);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

std::vector<std::byte> swapped(DType dtype, std::vector<std::byte> bytes) {
  swap_byte_order(dtype, bytes);
  return bytes;
}

/// Where each byte of a block ends up. A block's bytes are its positions, so that they can be told apart.
std::vector<int> order_of(DType dtype) {
  const std::size_t size = info(dtype).block_bytes;
  std::vector<std::byte> low(size), high(size);
  for (std::size_t i = 0; i < size; ++i) {
    low[i] = static_cast<std::byte>(i & 0xFF);
    high[i] = static_cast<std::byte>(i >> 8);
  }
  low = swapped(dtype, low);
  high = swapped(dtype, high);
  std::vector<int> order(size);
  for (std::size_t i = 0; i < size; ++i) order[i] = std::to_integer<int>(low[i]) | std::to_integer<int>(high[i]) << 8;
  return order;
}

/// A member of a block's struct in C: `count` numbers of `width` bytes.
struct Member {
  std::size_t width, count;
};

std::vector<int> order_by(const std::vector<Member>& members) {
  std::vector<int> order;
  for (const Member& member : members) {
    for (std::size_t i = 0; i < member.count; ++i) {
      const int begin = static_cast<int>(order.size());
      for (std::size_t byte = 0; byte < member.width; ++byte)
        order.push_back(begin + static_cast<int>(member.width - 1 - byte));
    }
  }
  return order;
}

// ggml's structs, member by member.
TEST(ByteOrder, BlocksAreSwappedMemberByMember) {
  const std::vector<std::pair<DType, std::vector<Member>>> structs = {
      {DType::Q4_0, {{2, 1}, {1, 16}}},
      {DType::Q4_1, {{2, 1}, {2, 1}, {1, 16}}},
      {DType::Q5_0, {{2, 1}, {4, 1}, {1, 16}}},
      {DType::Q5_1, {{2, 1}, {2, 1}, {4, 1}, {1, 16}}},
      {DType::Q8_0, {{2, 1}, {1, 32}}},
      {DType::Q8_1, {{2, 1}, {2, 1}, {1, 32}}},
      {DType::Q2_K, {{1, 16}, {1, 64}, {2, 1}, {2, 1}}},
      {DType::Q3_K, {{1, 32}, {1, 64}, {1, 12}, {2, 1}}},
      {DType::Q4_K, {{2, 1}, {2, 1}, {1, 12}, {1, 128}}},
      {DType::Q5_K, {{2, 1}, {2, 1}, {1, 12}, {1, 32}, {1, 128}}},
      {DType::Q6_K, {{1, 128}, {1, 64}, {1, 16}, {2, 1}}},
      {DType::Q8_K, {{4, 1}, {1, 256}, {2, 16}}},
      {DType::IQ1_S, {{2, 1}, {1, 32}, {2, 8}}},
      {DType::IQ1_M, {{1, 32}, {1, 16}, {2, 4}}},
      {DType::IQ2_XXS, {{2, 1}, {4, 16}}},
      {DType::IQ2_XS, {{2, 1}, {2, 32}, {1, 8}}},
      {DType::IQ2_S, {{2, 1}, {1, 64}, {1, 8}, {1, 8}}},
      {DType::IQ3_XXS, {{2, 1}, {1, 64}, {4, 8}}},
      {DType::IQ3_S, {{2, 1}, {1, 64}, {1, 8}, {1, 32}, {1, 4}}},
      {DType::IQ4_NL, {{2, 1}, {1, 16}}},
      {DType::IQ4_XS, {{2, 1}, {2, 1}, {1, 4}, {1, 128}}},
      {DType::TQ1_0, {{1, 48}, {1, 4}, {2, 1}}},
      {DType::TQ2_0, {{1, 64}, {2, 1}}},
      {DType::MXFP4, {{1, 1}, {1, 16}}},
      {DType::NVFP4, {{1, 4}, {1, 32}}},
      {DType::Q1_0, {{2, 1}, {1, 16}}},
      {DType::Q2_0, {{2, 1}, {1, 16}}},
  };
  std::size_t blocks = 0;
  for (const DTypeInfo& type : all_dtypes()) blocks += is_block(type.dtype) ? 1 : 0;
  EXPECT_EQ(structs.size(), blocks);
  for (const auto& [dtype, members] : structs) EXPECT_EQ(order_of(dtype), order_by(members)) << name(dtype);
}

TEST(ByteOrder, ScalarsAreTurnedRound) {
  for (const DTypeInfo& type : all_dtypes()) {
    if (is_block(type.dtype) || type.kind == DTypeKind::text) continue;
    const std::size_t width = type.block_elements > 1 ? 1 : type.kind == DTypeKind::complex ? 4 : type.block_bytes;
    EXPECT_EQ(order_of(type.dtype), order_by({{width, type.block_bytes / width}})) << type.name;
  }
}

TEST(ByteOrder, EveryBlockOfARunAndTwiceIsNothing) {
  for (const DTypeInfo& type : all_dtypes()) {
    for (const std::size_t blocks : {0, 1, 2, 3, 17}) {
      const std::vector<std::byte> bytes = random_bytes(type.block_bytes * blocks);
      const std::vector<std::byte> once = swapped(type.dtype, bytes);
      for (std::size_t at = 0; at < bytes.size(); at += type.block_bytes) {
        const auto cut = [&](const std::vector<std::byte>& from) {
          const auto begin = from.begin() + static_cast<std::ptrdiff_t>(at);
          return std::vector(begin, begin + type.block_bytes);
        };
        EXPECT_EQ(swapped(type.dtype, cut(bytes)), cut(once)) << type.name;
      }
      EXPECT_EQ(swapped(type.dtype, once), bytes) << type.name;
    }
  }
}

TEST(ByteOrder, BytesNeedNoAlignment) {
  const std::vector<std::byte> bytes = random_bytes(8 * 9 + 1);
  for (const DType dtype : {DType::F16, DType::F32, DType::F64}) {
    std::vector<std::byte> shifted = bytes;
    swap_byte_order(dtype, std::span(shifted).subspan(1));
    const std::vector<std::byte> aligned = swapped(dtype, {bytes.begin() + 1, bytes.end()});
    EXPECT_TRUE(std::equal(aligned.begin(), aligned.end(), shifted.begin() + 1)) << name(dtype);
    EXPECT_EQ(shifted.front(), bytes.front());
  }
}

}  // namespace
}  // namespace headrace::codec
