#include "plan/rules.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <string>

namespace headrace::plan {
namespace {

constexpr std::uint64_t kMemory = std::uint64_t{64} << 20;

Rule rule(std::string pattern, DType type) {
  return {.pattern = std::move(pattern), .action = {Action::Kind::type, {type}}};
}

// Of a matrix of that name.
std::optional<std::size_t> match(Rules& rules, std::string_view name) {
  static constexpr std::uint64_t kShape[] = {4, 64};
  TensorInfo tensor;
  tensor.name = name;
  tensor.shape = kShape;
  tensor.elements = 256;
  return rules.match(tensor);
}

std::string problem_of(const std::vector<Rule>& list, std::initializer_list<const char*> names) {
  try {
    Rules rules(list, kMemory);
    for (const char* name : names) static_cast<void>(match(rules, name));
    rules.require_all_matched();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(Rules, TheFirstThatIsFoundAnywhereInTheNameDecides) {
  const std::vector<Rule> list = {rule("attn.*weight", DType::Q8_0), rule("^blk\\.0\\.", DType::F16),
                                  rule("\\.weight$", DType::Q4_0)};
  Rules rules(list, kMemory);
  EXPECT_EQ(match(rules, "blk.0.attn_q.weight"), 0U);
  EXPECT_EQ(match(rules, "blk.0.ffn.weight"), 1U);
  EXPECT_EQ(match(rules, "blk.1.ffn.weight"), 2U);
  EXPECT_EQ(match(rules, "blk.1.ffn.bias"), std::nullopt);
  EXPECT_EQ(match(rules, ""), std::nullopt);
  rules.require_all_matched();
}

TEST(Rules, NamesNeedNotBeText) {
  const std::vector<Rule> list = {rule("weight", DType::Q8_0)};
  Rules rules(list, kMemory);
  EXPECT_EQ(match(rules, "\xFF\xFE.weight"), 0U);
  const std::vector<Rule> dots = {rule("^a.*b..c$", DType::Q8_0)};
  Rules any(dots, kMemory);
  EXPECT_EQ(match(any,
                  "a\xFF\xC3"
                  "b\xE2\x82"
                  "c"),
            0U);
  EXPECT_EQ(match(any,
                  "ab\xC3\xA9\xC3\xA9"
                  "c"),
            0U);
  EXPECT_EQ(match(rules, std::string_view("a\0weight", 8)), 0U);
}

TEST(Rules, ARuleThatEarlierOnesShadowHasMatched) {
  const std::vector<Rule> list = {rule("a", DType::Q8_0), rule("b", DType::F16), rule("ab", DType::Q4_0)};
  Rules rules(list, kMemory);
  EXPECT_EQ(match(rules, "ab"), 0U);
  EXPECT_EQ(match(rules, "b"), 1U);
  rules.require_all_matched();
}

TEST(Rules, ARuleWithoutAMatchIsAnError) {
  const std::vector<Rule> list = {rule("a", DType::Q8_0), rule("no\\.such", DType::F16)};
  EXPECT_NE(problem_of(list, {"a", "b"}).find("'no\\.such=F16' matches no tensor"), std::string::npos);
  EXPECT_EQ(problem_of(list, {"a", "no.such"}), "");
}

TEST(Rules, ABadPatternIsAnError) {
  for (const char* pattern : {"(a", "a)", "[a", "a{2,1}", "*", "a\\", "(?=a)", "(?!a)", "\\1", "a{1001}"}) {
    SCOPED_TRACE(pattern);
    EXPECT_NE(problem_of({rule(pattern, DType::Q8_0)}, {"a"}).find("bad pattern"), std::string::npos);
  }
  EXPECT_NE(problem_of({rule("(?!a)", DType::Q8_0)}, {"a"}).find("look-ahead"), std::string::npos);
}

TEST(Rules, TogetherTheyHaveOneBudget) {
  const std::vector<Rule> one = {rule("(?i)\\pL{10}", DType::Q8_0)};
  EXPECT_NO_THROW(Rules(one, kMemory));
  EXPECT_THROW(Rules(one, 4096), Error);
  const std::vector<Rule> many(kMostPatterns, one.front());
  EXPECT_THROW(Rules(many, kMemory), Error);
  const std::vector<Rule> plain(kMostPatterns, rule("blk\\.[0-9]+\\.(attn|ffn)_.*\\.weight$", DType::Q8_0));
  Rules rules(plain, kMemory);
  EXPECT_EQ(match(rules, "blk.17.attn_q.weight"), 0U);
  const std::vector<Rule> too_many(kMostPatterns + 1, rule("a", DType::Q8_0));
  EXPECT_THROW(Rules(too_many, kMemory), Error);
}

TEST(Rules, APatternThatHangsOthersTakesNoTime) {
  const std::vector<Rule> list = {rule("(a*)*b", DType::Q8_0), rule("(x+x+)+y", DType::F16)};
  Rules rules(list, kMemory);
  EXPECT_EQ(match(rules, std::string(100'000, 'a')), std::nullopt);
  EXPECT_EQ(match(rules, std::string(100'000, 'x') + 'z'), std::nullopt);
}

TEST(Rules, ConditionsLookAtTheShape) {
  const std::vector<Rule> list = {parse_rule("ndim<2=f32"), parse_rule("weight row!=64=keep"),
                                  parse_rule("weight elements>=256 elements<=256 ndim==2=q8_0"),
                                  parse_rule("row>63=f16")};
  Rules rules(list, kMemory);
  EXPECT_EQ(match(rules, "a.weight"), 2U);
  EXPECT_EQ(match(rules, "a.bias"), 3U);
  static constexpr std::uint64_t kShape[] = {32};
  TensorInfo vector;
  vector.name = "a.weight";
  vector.shape = kShape;
  vector.elements = 32;
  EXPECT_EQ(rules.match(vector), 0U);
}

}  // namespace
}  // namespace headrace::plan
