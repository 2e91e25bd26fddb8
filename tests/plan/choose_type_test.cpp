#include "plan/choose_type.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <string_view>
#include <vector>

namespace headrace::plan {
namespace {

struct Case {
  DType from;
  std::vector<std::uint64_t> shape;
  std::optional<DType> requested;
  DType to;
  Reason why;
};

TEST(ChooseType, FollowsTheRules) {
  const std::vector<Case> cases = {
      {DType::BF16, {4, 4}, {}, DType::BF16, Reason::kept},
      {DType::F16, {4, 4}, DType::F16, DType::F16, Reason::already},
      {DType::F16, {4}, DType::BF16, DType::BF16, Reason::requested},
      {DType::F64, {}, DType::F16, DType::F16, Reason::requested},
      {DType::I64, {4, 32}, DType::F16, DType::I64, Reason::not_float},
      {DType::BOOL, {4, 32}, DType::Q8_0, DType::BOOL, Reason::not_float},
      {DType::C64, {4, 32}, DType::F32, DType::C64, Reason::not_float},
      {DType::BF16, {4, 32}, DType::Q8_0, DType::Q8_0, Reason::requested},
      {DType::F64, {4, 32}, DType::Q8_0, DType::Q8_0, Reason::requested},
      {DType::Q8_0, {4, 32}, DType::Q4_0, DType::Q4_0, Reason::requested},
      {DType::Q8_0, {4, 32}, DType::F16, DType::F16, Reason::requested},
      {DType::BF16, {32}, DType::Q8_0, DType::F32, Reason::one_dimensional},
      {DType::F32, {32}, DType::Q8_0, DType::F32, Reason::one_dimensional},
      {DType::F16, {}, DType::Q8_0, DType::F32, Reason::one_dimensional},
      {DType::F64, {32}, DType::Q8_0, DType::F64, Reason::kept_wide},
      {DType::F32, {4, 33}, DType::Q8_0, DType::F16, Reason::row_fallback},
      {DType::F32, {4, 33}, DType::Q4_0, DType::F16, Reason::row_fallback},
      {DType::F32, {4, 32}, DType::Q4_K, DType::Q5_0, Reason::row_fallback},
      {DType::F32, {4, 32}, DType::Q5_K, DType::Q5_1, Reason::row_fallback},
      {DType::F32, {4, 32}, DType::Q6_K, DType::Q8_0, Reason::row_fallback},
      {DType::F32, {4, 32}, DType::Q2_K, DType::IQ4_NL, Reason::row_fallback},
      {DType::F32, {4, 32}, DType::Q3_K, DType::IQ4_NL, Reason::row_fallback},
      {DType::F32, {4, 32}, DType::IQ4_XS, DType::IQ4_NL, Reason::row_fallback},
      {DType::F32, {4, 33}, DType::Q4_K, DType::F16, Reason::row_fallback},
      {DType::F32, {4, 0}, DType::Q8_0, DType::Q8_0, Reason::requested},
      {DType::F32, {2, 3}, DType::F4, DType::F4, Reason::requested},
      {DType::F32, {3, 3}, DType::F4, DType::F16, Reason::row_fallback},
      {DType::F32, {2, 3}, DType::F6_E2M3, DType::F16, Reason::row_fallback},
      {DType::F32, {2, 6}, DType::F6_E2M3, DType::F6_E2M3, Reason::requested},
  };
  for (const Case& c : cases) {
    TensorInfo tensor;
    tensor.dtype = c.from;
    tensor.shape = c.shape;
    tensor.elements = std::accumulate(c.shape.begin(), c.shape.end(), std::uint64_t{1}, std::multiplies<>());
    const TypeChoice choice = choose_type(tensor, {c.requested});
    EXPECT_EQ(choice.to, c.to) << name(c.from) << to_string(Shape(c.shape));
    EXPECT_EQ(choice.why, c.why) << name(c.from) << to_string(Shape(c.shape));
  }
}

TensorInfo tensor_of(std::string_view name, DType dtype, const std::vector<std::uint64_t>& shape) {
  TensorInfo tensor;
  tensor.name = name;
  tensor.dtype = dtype;
  tensor.shape = shape;
  tensor.elements = std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
  return tensor;
}

TEST(ChooseType, ARuleOverridesEveryDefault) {
  const std::vector<std::uint64_t> vector = {64}, odd = {33}, matrix = {4, 64};
  const Wish by_rule{DType::Q8_0, true};
  EXPECT_EQ(choose_type(tensor_of("norm", DType::F32, vector), by_rule).to, DType::Q8_0);
  EXPECT_EQ(choose_type(tensor_of("x.bias", DType::F16, vector), by_rule).why, Reason::rule);
  EXPECT_EQ(choose_type(tensor_of("embedding", DType::F16, matrix), by_rule).to, DType::Q8_0);
  EXPECT_EQ(choose_type(tensor_of("norm", DType::F32, odd), by_rule).why, Reason::row_fallback);
  EXPECT_EQ(choose_type(tensor_of("ids", DType::I64, matrix), by_rule).to, DType::I64);
  EXPECT_EQ(choose_type(tensor_of("x.bias", DType::F16, vector), {DType::F32, true}).to, DType::F32);
}

}  // namespace
}  // namespace headrace::plan
