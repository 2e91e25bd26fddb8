#include "plan/type_rules.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <string>

namespace headrace::plan {
namespace {

constexpr std::uint64_t kMemory = std::uint64_t{64} << 20;

std::string problem_of(const std::vector<TypeRule>& list, std::initializer_list<const char*> names) {
  try {
    TypeRules rules(list, kMemory);
    for (const char* name : names) static_cast<void>(rules.match(name));
    rules.require_all_matched();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(TypeRules, TheFirstThatIsFoundAnywhereInTheNameDecides) {
  const std::vector<TypeRule> list = {
      {"attn.*weight", DType::Q8_0}, {"^blk\\.0\\.", DType::F16}, {"\\.weight$", DType::Q4_0}};
  TypeRules rules(list, kMemory);
  EXPECT_EQ(rules.match("blk.0.attn_q.weight"), 0U);
  EXPECT_EQ(rules.match("blk.0.ffn.weight"), 1U);
  EXPECT_EQ(rules.match("blk.1.ffn.weight"), 2U);
  EXPECT_EQ(rules.match("blk.1.ffn.bias"), std::nullopt);
  EXPECT_EQ(rules.match(""), std::nullopt);
  rules.require_all_matched();
}

TEST(TypeRules, NamesNeedNotBeText) {
  const std::vector<TypeRule> list = {{"weight", DType::Q8_0}};
  TypeRules rules(list, kMemory);
  EXPECT_EQ(rules.match("\xFF\xFE.weight"), 0U);
  const std::vector<TypeRule> dots = {{"^a.*b..c$", DType::Q8_0}};
  TypeRules any(dots, kMemory);
  EXPECT_EQ(any.match("a\xFF\xC3"
                      "b\xE2\x82"
                      "c"),
            0U);
  EXPECT_EQ(any.match("ab\xC3\xA9\xC3\xA9"
                      "c"),
            0U);
  EXPECT_EQ(rules.match(std::string_view("a\0weight", 8)), 0U);
}

TEST(TypeRules, ARuleThatEarlierOnesShadowHasMatched) {
  const std::vector<TypeRule> list = {{"a", DType::Q8_0}, {"b", DType::F16}, {"ab", DType::Q4_0}};
  TypeRules rules(list, kMemory);
  EXPECT_EQ(rules.match("ab"), 0U);
  EXPECT_EQ(rules.match("b"), 1U);
  rules.require_all_matched();
}

TEST(TypeRules, ARuleWithoutAMatchIsAnError) {
  const std::vector<TypeRule> list = {{"a", DType::Q8_0}, {"no\\.such", DType::F16}};
  EXPECT_NE(problem_of(list, {"a", "b"}).find("'no\\.such=F16' matches no tensor"), std::string::npos);
  EXPECT_EQ(problem_of(list, {"a", "no.such"}), "");
}

TEST(TypeRules, ABadPatternIsAnError) {
  for (const char* pattern : {"(a", "a)", "[a", "a{2,1}", "*", "a\\", "(?=a)", "(?!a)", "\\1", "a{1001}"}) {
    SCOPED_TRACE(pattern);
    EXPECT_NE(problem_of({{pattern, DType::Q8_0}}, {"a"}).find("bad pattern"), std::string::npos);
  }
  EXPECT_NE(problem_of({{"(?!a)", DType::Q8_0}}, {"a"}).find("look-ahead"), std::string::npos);
}

TEST(TypeRules, TogetherTheyHaveOneBudget) {
  const std::vector<TypeRule> one = {{"(?i)\\pL{10}", DType::Q8_0}};
  EXPECT_NO_THROW(TypeRules(one, kMemory));
  EXPECT_THROW(TypeRules(one, 4096), Error);
  const std::vector<TypeRule> many(TypeRules::kMost, one.front());
  EXPECT_THROW(TypeRules(many, kMemory), Error);
  const std::vector<TypeRule> plain(TypeRules::kMost, {"blk\\.[0-9]+\\.(attn|ffn)_.*\\.weight$", DType::Q8_0});
  TypeRules rules(plain, kMemory);
  EXPECT_EQ(rules.match("blk.17.attn_q.weight"), 0U);
  const std::vector<TypeRule> too_many(TypeRules::kMost + 1, {"a", DType::Q8_0});
  EXPECT_THROW(TypeRules(too_many, kMemory), Error);
}

TEST(TypeRules, APatternThatHangsOthersTakesNoTime) {
  const std::vector<TypeRule> list = {{"(a*)*b", DType::Q8_0}, {"(x+x+)+y", DType::F16}};
  TypeRules rules(list, kMemory);
  EXPECT_EQ(rules.match(std::string(100'000, 'a')), std::nullopt);
  EXPECT_EQ(rules.match(std::string(100'000, 'x') + 'z'), std::nullopt);
}

}  // namespace
}  // namespace headrace::plan
