#include "plan/choose_type.hpp"

#include <gtest/gtest.h>

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
  };
  for (const Case& c : cases) {
    TensorInfo tensor;
    tensor.dtype = c.from;
    tensor.shape = c.shape;
    const TypeChoice choice = choose_type(tensor, c.requested);
    EXPECT_EQ(choice.to, c.to) << name(c.from) << to_string(Shape(c.shape));
    EXPECT_EQ(choice.why, c.why) << name(c.from) << to_string(Shape(c.shape));
  }
}

}  // namespace
}  // namespace headrace::plan
