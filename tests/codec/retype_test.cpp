#include <headrace/error.hpp>
#include <headrace/retype.hpp>

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include <xmmintrin.h>

namespace headrace {
namespace {

std::optional<Error> error_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

TEST(Retype, RoundsToNearestEven) {
  const std::array<float, 4> numbers = {1.0F, -2.5F, std::bit_cast<float>(0x3F808000U),
                                        std::bit_cast<float>(0x3F818000U)};
  std::array<std::uint16_t, 4> made{};
  retype(DType::F32, std::as_bytes(std::span(numbers)), DType::BF16, std::as_writable_bytes(std::span(made)));
  EXPECT_EQ(made, (std::array<std::uint16_t, 4>{0x3F80, 0xC020, 0x3F80, 0x3F82}));
}

TEST(Retype, KeepsDenormalsWhateverTheProgramSet) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);  // flush to zero, denormals are zero
  const std::array<std::uint16_t, 1> half = {0x0001};
  std::array<float, 1> made{};
  retype(DType::F16, std::as_bytes(std::span(half)), DType::F32, std::as_writable_bytes(std::span(made)));
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(made[0]), 0x33800000U);
  EXPECT_EQ(after & 0x8040U, 0x8040U);
}

TEST(Retype, SaysWhichNumberDoesNotFit) {
  const std::array<float, 3> numbers = {1, 2, 1e30F};
  std::array<std::uint16_t, 3> made{};
  const auto src = std::as_bytes(std::span(numbers));
  const auto dst = std::as_writable_bytes(std::span(made));
  const auto error = error_of([&] { retype(DType::F32, src, DType::F16, dst); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::value);
  EXPECT_EQ(error->problem(), "element 2 is too large for F16");
  retype(DType::F32, src, DType::F16, dst, Nonfinite::keep);
  EXPECT_EQ(made[2], 0x7C00);
}

TEST(Retype, RefusesSizesAndTypes) {
  std::vector<std::byte> numbers(64), made(1024);
  const auto code = [&](DType from, std::size_t src, DType to, std::size_t dst) {
    const auto error = error_of([&] { retype(from, std::span(numbers).first(src), to, std::span(made).first(dst)); });
    return error ? std::optional(error->code()) : std::nullopt;
  };
  EXPECT_EQ(code(DType::Q8_0, 34, DType::F32, 128), std::nullopt);
  EXPECT_EQ(code(DType::F32, 0, DType::F16, 0), std::nullopt);
  EXPECT_EQ(code(DType::STRING, 7, DType::STRING, 7), std::nullopt);
  EXPECT_EQ(code(DType::C64, 16, DType::C64, 16), std::nullopt);
  EXPECT_EQ(code(DType::Q8_0, 33, DType::F32, 128), ErrorCode::invalid_argument);
  EXPECT_EQ(code(DType::F32, 8, DType::F16, 5), ErrorCode::invalid_argument);
  EXPECT_EQ(code(DType::F32, 8, DType::Q8_0, 34), ErrorCode::invalid_argument);
  EXPECT_EQ(code(DType::C64, 8, DType::F32, 4), ErrorCode::invalid_argument);
  EXPECT_EQ(code(DType::F32, 8, DType::I32, 8), ErrorCode::invalid_argument);
  EXPECT_EQ(code(DType::STRING, 7, DType::STRING, 6), ErrorCode::invalid_argument);
}

TEST(Retype, KnowsWhatCanBeReadAndMade) {
  for (const DTypeInfo& type : all_dtypes()) {
    const bool readable = type.dtype != DType::C64 && type.dtype != DType::STRING && !type.internal;
    EXPECT_EQ(can_read(type.dtype), readable) << type.name;
    EXPECT_TRUE(!can_make(type.dtype) || can_read(type.dtype)) << type.name;
  }
  EXPECT_TRUE(can_make(DType::Q4_K));
  EXPECT_FALSE(can_make(DType::I32));
  EXPECT_FALSE(can_make(DType::IQ2_XXS));
}

}  // namespace
}  // namespace headrace
