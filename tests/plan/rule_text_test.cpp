#include <headrace/error.hpp>
#include <headrace/rules.hpp>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace headrace {
namespace {

using Kind = Action::Kind;

std::string problem_of(std::string_view text) {
  try {
    static_cast<void>(parse_rule(text));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(RuleText, AnActionFollowsTheLastEqualsSign) {
  const Rule rule = parse_rule("a=b.*weight=q8_0");
  EXPECT_EQ(rule.pattern, "a=b.*weight");
  EXPECT_EQ(rule.action.kind, Kind::type);
  EXPECT_EQ(rule.action.types, std::vector{DType::Q8_0});
  EXPECT_TRUE(rule.conditions.empty());
}

TEST(RuleText, EveryAction) {
  EXPECT_EQ(parse_rule("a=keep").action.kind, Kind::keep);
  EXPECT_EQ(parse_rule("a=drop").action.kind, Kind::drop);
  const Action fallback = parse_rule("a=fallback:q5_0, q8_0,F16").action;
  EXPECT_EQ(fallback.kind, Kind::fallback);
  EXPECT_EQ(fallback.types, (std::vector{DType::Q5_0, DType::Q8_0, DType::F16}));
  const Action rmse = parse_rule("a=rmse:0.01").action;
  EXPECT_EQ(rmse.kind, Kind::rmse);
  EXPECT_EQ(rmse.limit, 0.01);
  EXPECT_TRUE(rmse.types.empty());
  EXPECT_EQ(parse_rule("a=rmse:1e-3,q8_0,q4_K").action.types, (std::vector{DType::Q8_0, DType::Q4_K}));
}

TEST(RuleText, ConditionsStandBehindThePattern) {
  const Rule rule = parse_rule("  weight$ ndim>=2  elements<1024 row!=256=f16");
  EXPECT_EQ(rule.pattern, "weight$");
  ASSERT_EQ(rule.conditions.size(), 3U);
  EXPECT_EQ(rule.conditions[0].of, Condition::Of::ndim);
  EXPECT_EQ(rule.conditions[0].is, Condition::Is::at_least);
  EXPECT_EQ(rule.conditions[1].number, 1024U);
  EXPECT_EQ(rule.conditions[2].is, Condition::Is::unequal);
  EXPECT_EQ(parse_rule("ndim<2=f32").pattern, "");
  EXPECT_EQ(parse_rule("ndim==2=f32").conditions[0].is, Condition::Is::equal);
  EXPECT_EQ(parse_rule("ndim<x=f32").pattern, "ndim<x");  // no number, so no condition
}

TEST(RuleText, ItReadsWhatItWrites) {
  for (const char* text : {"a=Q8_0", "a b=keep", "ndim<2=F32", "x$ elements>=7 row==3=drop", "a=fallback:Q4_K,F16",
                           "a=rmse:0.01", "a=rmse:0.5,Q8_0,F16"}) {
    EXPECT_EQ(to_string(parse_rule(text)), text);
  }
}

TEST(RuleText, WhatIsWrongIsNamed) {
  EXPECT_NE(problem_of("attn").find("has no action"), std::string::npos);
  EXPECT_NE(problem_of("=f16").find("no pattern and no condition"), std::string::npos);
  EXPECT_NE(problem_of("attn=").find("says nothing to do"), std::string::npos);
  EXPECT_NE(problem_of("attn=q9_K").find("unknown type or action 'q9_K'"), std::string::npos);
  EXPECT_NE(problem_of("attn=fallback:").find("names no type"), std::string::npos);
  EXPECT_NE(problem_of("attn=fallback:q5_0,x").find("unknown type 'x'"), std::string::npos);
  EXPECT_NE(problem_of("attn=rmse:lots").find("'lots' is no limit"), std::string::npos);
  EXPECT_NE(problem_of("attn=rmse:-1").find("is no limit"), std::string::npos);
  EXPECT_NE(problem_of("attn=rmse:inf").find("is no limit"), std::string::npos);
}

TEST(RuleText, AFileHasARuleALine) {
  const auto rules = parse_rules("# first\n\n attn=q8_0 \r\nndim<2=f32\n# last", "rules.txt");
  ASSERT_EQ(rules.size(), 2U);
  EXPECT_EQ(rules[0].pattern, "attn");
  EXPECT_TRUE(parse_rules("", "rules.txt").empty());
  try {
    static_cast<void>(parse_rules("a=f16\nb=what", "rules.txt"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.detail().file, "rules.txt");
    EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos);
  }
}

}  // namespace
}  // namespace headrace
