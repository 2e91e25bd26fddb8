// What recipes choose, where llama-quantize's own choices (recipe_table_test.cpp) don't say it.
#include "plan/recipe.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

namespace headrace::plan {
namespace {

TEST(Recipe, IsFoundByItsNameInAnyCase) {
  for (const RecipeInfo& row : all_recipes()) {
    EXPECT_EQ(parse_recipe(row.name), row.recipe);
    EXPECT_EQ(name(row.recipe), row.name);
    EXPECT_EQ(&info(row.recipe), &row);
  }
  EXPECT_EQ(parse_recipe("q4_k_m"), Recipe::Q4_K_M);
  EXPECT_EQ(parse_recipe("Q3_k"), Recipe::Q3_K_M);
  EXPECT_EQ(parse_recipe("Q4_K"), Recipe::Q4_K_M);
  EXPECT_EQ(parse_recipe("Q5_K"), Recipe::Q5_K_M);
  EXPECT_EQ(parse_recipe("mxfp4_moe"), Recipe::MXFP4_MOE);
  for (const char* name : {"", "Q4_K_", "Q4_K_M ", "Q4_K_L", "MXFP4", "15", "COPY"}) EXPECT_FALSE(parse_recipe(name));
}

Metadata llama(std::uint32_t layers, std::uint32_t heads, std::uint32_t key_heads) {
  Metadata metadata;
  metadata.set_string("general.architecture", "llama");
  metadata.set_u32("llama.block_count", layers);
  metadata.set_u32("llama.attention.head_count", heads);
  metadata.set_u32("llama.attention.head_count_kv", key_heads);
  return metadata;
}

std::string problem_of(const std::function<void()>& run, ErrorCode code) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  return "";
}

std::string problem_of(const Metadata& metadata) {
  return problem_of([&] { static_cast<void>(language_model(metadata)); }, ErrorCode::invalid_argument);
}

TEST(LanguageModel, IsReadFromItsMetadata) {
  const LanguageModel model = language_model(llama(32, 32, 8));
  EXPECT_EQ(model.architecture, "llama");
  EXPECT_EQ(model.layers, 32U);
  EXPECT_EQ(model.experts, 0U);
  EXPECT_EQ(model.queries_per_key, 4U);
  EXPECT_FALSE(model.is_70b);
}

TEST(LanguageModel, MayHaveANumberOfHeadsForEachLayer) {
  Metadata metadata = llama(2, 1, 1);
  metadata.set_i32_array("llama.attention.head_count", std::vector<std::int32_t>{24, 8});
  metadata.set_i32_array("llama.attention.head_count_kv", std::vector<std::int32_t>{5, 8});
  EXPECT_EQ(language_model(metadata).queries_per_key, 4U);
  metadata.set_i32_array("llama.attention.head_count_kv", std::vector<std::int32_t>{0, 8});
  EXPECT_EQ(language_model(metadata).queries_per_key, 0U);
  metadata.erase("llama.attention.head_count_kv");
  EXPECT_EQ(language_model(metadata).queries_per_key, 1U);
  metadata.erase("llama.attention.head_count");
  EXPECT_EQ(language_model(metadata).queries_per_key, 0U);
  metadata.set_i32_array("llama.attention.head_count", {});
  EXPECT_NE(problem_of(metadata), "");
}

TEST(LanguageModel, Of70BillionWeights) {
  EXPECT_TRUE(language_model(llama(80, 64, 8)).is_70b);
  EXPECT_FALSE(language_model(llama(80, 64, 64)).is_70b);  // the first Llama, of 65 billion
  Metadata experts = llama(80, 64, 8);
  experts.set_u32("llama.expert_count", 8);
  EXPECT_FALSE(language_model(experts).is_70b);
  EXPECT_FALSE(language_model(llama(60, 64, 8)).is_70b);
}

TEST(LanguageModel, IsNothingElse) {
  Metadata metadata;
  EXPECT_NE(problem_of(metadata).find("no 'general.architecture'"), std::string::npos);
  EXPECT_NE(problem_of(metadata).find("--type and --rule"), std::string::npos);
  metadata.set_u32("general.architecture", 3);
  EXPECT_NE(problem_of(metadata).find("is no text (found 3)"), std::string::npos);
  metadata.set_string("general.architecture", "flux");
  EXPECT_NE(problem_of(metadata).find("no 'flux.block_count'"), std::string::npos);
  metadata.set_string("flux.block_count", "19");
  EXPECT_NE(problem_of(metadata).find("'flux.block_count' is no whole number"), std::string::npos);
}

struct Tensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  DType dtype = DType::F16;
};

TensorInfo info_of(const Tensor& tensor) {
  TensorInfo info;
  info.name = tensor.name;
  info.shape = tensor.shape;
  info.dtype = tensor.dtype;
  return info;
}

std::vector<TensorInfo> infos(std::vector<Tensor>&&) = delete;  // they are views
std::vector<TensorInfo> infos(const std::vector<Tensor>& tensors) {
  std::vector<TensorInfo> out;
  for (const Tensor& tensor : tensors) out.push_back(info_of(tensor));
  return out;
}

using Types = std::vector<std::optional<DType>>;

Types choose(const RecipeOptions& options, const LanguageModel& model, const std::vector<Tensor>& tensors,
             std::vector<bool> decided = {}) {
  const auto list = infos(tensors);
  decided.resize(list.size());
  const RecipeChoice choice(options, model, list, decided, false);
  Types types;
  for (std::size_t i = 0; i < list.size(); ++i) types.push_back(choice.type(i));
  return types;
}

TEST(RecipeOrder, IsByLayerThenByName) {
  const std::vector<Tensor> tensors = {{"blk.10.a", {}},    {"token_embd.weight", {}},
                                       {"blk.2.b", {}},     {"blk.2.a", {}},
                                       {"enc.blk.3.a", {}}, {"blk.a", {}},
                                       {"\xFF", {}},        {"blk.0.z", {}}};
  EXPECT_EQ(recipe_order(infos(tensors)), (std::vector<std::uint32_t>{5, 4, 1, 6, 7, 3, 2, 0}));
  EXPECT_TRUE(recipe_order({}).empty());
}

const std::vector<std::uint64_t> kMatrix = {256, 256}, kVector = {256};

// In no order that a file would have.
std::vector<Tensor> values(std::uint32_t layers) {
  std::vector<Tensor> tensors;
  for (std::uint32_t layer = layers; layer-- > 0;)
    tensors.push_back({"blk." + std::to_string(layer) + ".attn_v.weight", kMatrix});
  return tensors;
}

TEST(RecipeChoice, CountsInItsOwnOrderWhateverTheFiles) {
  const Types types = choose({Recipe::Q3_K_M}, {.architecture = "llama", .layers = 12}, values(12));
  for (std::size_t layer = 0; layer < 12; ++layer)
    EXPECT_EQ(types[11 - layer], layer < 2 ? DType::Q5_K : DType::Q4_K) << layer;
}

TEST(RecipeChoice, WhatIsDecidedCountsForNothing) {
  std::vector<bool> decided(12);
  decided[11] = decided[9] = true;  // layers 0 and 2
  const Types types = choose({Recipe::Q3_K_M}, {.architecture = "llama", .layers = 12}, values(12), decided);
  EXPECT_EQ(types[11], std::nullopt);
  EXPECT_EQ(types[10], DType::Q5_K);
  EXPECT_EQ(types[9], std::nullopt);
  EXPECT_EQ(types[8], DType::Q5_K);
  EXPECT_EQ(types[7], DType::Q4_K);
}

TEST(RecipeChoice, LeavesAloneWhatIsNoMatrixOfWeights) {
  const Types types = choose({Recipe::Q4_K_M}, {.architecture = "llama", .layers = 1},
                             {{"blk.0.attn_q.bias", kMatrix},
                              {"blk.0.attn_norm.weight", kMatrix},
                              {"blk.0.ffn_gate_inp.weight", kMatrix},
                              {"position_embd.weight", kMatrix},
                              {"rope_freqs.weight", kVector},
                              {"one_row.weight", {1, 1, 256}},
                              {"scalar.weight", {}},
                              {"routes.weight", kMatrix, DType::I32},
                              {"one_column.weight", {256, 1}},
                              {"x.position_embd_2.weight", kMatrix},
                              {"other.weight", kMatrix}});
  EXPECT_EQ(types, (Types{{}, {}, {}, {}, {}, {}, {}, {}, DType::F16, {}, DType::Q4_K}));
}

TEST(RecipeChoice, RowsFallBackOnce) {
  const std::vector<Tensor> tensors = {{"a.weight", {4, 288}}, {"b.weight", {4, 33}}, {"c.weight", {4, 256}}};
  const auto list = infos(tensors);
  const LanguageModel model{.architecture = "llama", .layers = 1};
  const std::vector<std::pair<Recipe, DType>> cases = {
      {Recipe::Q2_K, DType::Q4_0},    {Recipe::Q3_K_S, DType::Q4_0},    {Recipe::Q4_K_S, DType::Q5_0},
      {Recipe::Q5_K_S, DType::Q5_1},  {Recipe::Q6_K, DType::Q8_0},      {Recipe::IQ4_XS, DType::IQ4_NL},
      {Recipe::IQ1_S, DType::IQ4_NL}, {Recipe::IQ3_XXS, DType::IQ4_NL}, {Recipe::TQ1_0, DType::Q4_0},
      {Recipe::Q8_0, DType::Q8_0},    {Recipe::Q4_0, DType::Q4_0},      {Recipe::F16, DType::F16}};
  for (const auto& [recipe, fallback] : cases) {
    SCOPED_TRACE(name(recipe));
    for (const bool pure : {false, true}) {
      const RecipeChoice choice({.recipe = recipe, .pure = pure}, model, list, std::vector<bool>(3), false);
      EXPECT_EQ(choice.type(0), fallback);
      EXPECT_EQ(choice.fell_back(0), fallback != info(recipe).type);
      EXPECT_EQ(choice.type(1), DType::F16);
      EXPECT_EQ(choice.fell_back(1), recipe != Recipe::F16);
      EXPECT_EQ(choice.type(2), info(recipe).type);
      EXPECT_FALSE(choice.fell_back(2));
    }
  }
}

TEST(RecipeChoice, OptionsSayWhatTheEndsAre) {
  const LanguageModel model{.architecture = "llama", .layers = 1};
  const std::vector<Tensor> tied = {{"token_embd.weight", kMatrix}};
  const std::vector<Tensor> both = {{"token_embd.weight", kMatrix}, {"output.weight", kMatrix}};
  EXPECT_EQ(choose({Recipe::Q4_K_M}, model, both), (Types{DType::Q4_K, DType::Q6_K}));
  EXPECT_EQ(choose({Recipe::Q4_K_M}, model, tied), (Types{DType::Q6_K}));
  RecipeOptions options{.recipe = Recipe::Q4_K_M, .output_tensor_type = DType::F16};
  EXPECT_EQ(choose(options, model, both), (Types{DType::Q4_K, DType::F16}));
  EXPECT_EQ(choose(options, model, tied), (Types{DType::F16}));
  options.token_embedding_type = DType::Q8_0;
  EXPECT_EQ(choose(options, model, both), (Types{DType::Q8_0, DType::F16}));
  EXPECT_EQ(choose(options, model, tied), (Types{DType::Q8_0}));
  options.leave_output_tensor = true;
  EXPECT_EQ(choose(options, model, both), (Types{DType::Q8_0, {}}));
  options = {.recipe = Recipe::Q4_K_M, .pure = true};
  EXPECT_EQ(choose(options, model, both), (Types{DType::Q4_K, DType::Q4_K}));
  EXPECT_EQ(choose(options, model, tied), (Types{DType::Q4_K}));
}

// What architectures alone have that llama-quantize only knows by name.
TEST(RecipeChoice, SomeArchitecturesHaveRulesOfTheirOwn) {
  const std::vector<Tensor> tensors = {
      {"blk.0.attn_q_a.weight", kMatrix},        {"blk.0.nextn.eh_proj.weight", kMatrix},
      {"blk.0.attn_v_b.weight", kMatrix},        {"blk.0.ffn_latent_up.weight", kMatrix},
      {"blk.0.attn_gate.weight", kMatrix},       {"decision.a.weight", kMatrix},
      {"blk.0.attn_kv_b.weight", {2, 256, 256}}, {"blk.0.ffn_up_exps.weight", {2, 256, 256}}};
  const auto of = [&](std::string architecture, Recipe recipe) {
    return choose({recipe}, {.architecture = std::move(architecture), .layers = 8}, tensors);
  };
  constexpr DType own = DType::Q3_K, q8 = DType::Q8_0, fp4 = DType::MXFP4;
  EXPECT_EQ(of("llama", Recipe::Q3_K_S), (Types{own, own, own, own, own, own, own, own}));
  EXPECT_EQ(of("glm5-next", Recipe::Q3_K_S), (Types{q8, q8, {}, own, own, own, own, own}));
  EXPECT_EQ(of("muse-spark", Recipe::Q3_K_S), (Types{own, own, own, q8, q8, own, own, own}));
  EXPECT_EQ(of("vllm-decision2", Recipe::Q3_K_S), (Types{own, own, own, own, own, {}, own, own}));
  EXPECT_EQ(of("llama", Recipe::MXFP4_MOE), (Types{q8, q8, q8, q8, q8, q8, fp4, fp4}));
  EXPECT_EQ(of("bailingmoe3", Recipe::MXFP4_MOE), (Types{q8, q8, q8, q8, q8, q8, q8, fp4}));
}

// Refused then, but a plan says first what it would be.
TEST(RecipeChoice, OfTheSmallestTypesIsMadeWithoutAnImportanceMatrixToo) {
  const LanguageModel model{.architecture = "llama", .layers = 8};
  const std::vector<Tensor> tensors = {
      {"blk.0.attn_v.weight", kMatrix}, {"blk.0.ffn_down.weight", kMatrix}, {"blk.1.ffn_down.weight", kMatrix}};
  EXPECT_EQ(choose({Recipe::IQ3_XXS}, model, tensors), (Types{DType::IQ3_S, DType::Q4_K, DType::Q3_K}));
  EXPECT_EQ(choose({Recipe::Q2_K_S}, model, tensors), (Types{DType::Q2_K, DType::Q4_K, DType::Q2_K}));
}

// "mmproj": for llama-quantize a model of no layers.
TEST(RecipeChoice, ProjectorsHaveNoLayers) {
  Metadata metadata;
  metadata.set_string("general.architecture", "clip");
  metadata.set_u32("clip.vision.block_count", 12);
  std::vector<Tensor> tensors;
  for (std::uint32_t layer = 0; layer < 12; ++layer) {
    tensors.push_back({"v.blk." + std::to_string(layer) + ".attn_v.weight", kMatrix});
    tensors.push_back({"v.blk." + std::to_string(layer) + ".ffn_down.weight", kMatrix});
  }
  const Types types = choose({Recipe::Q4_K_M}, language_model(metadata), tensors);
  const std::vector<std::size_t> more = {0, 4, 7, 8, 9, 11};  // 0 1 10 11 2 3 …: names are in the order of text
  for (std::size_t layer = 0; layer < 12; ++layer) {
    SCOPED_TRACE(layer);
    EXPECT_EQ(types[2 * layer], std::ranges::count(more, layer) > 0 ? DType::Q6_K : DType::Q4_K);
    EXPECT_EQ(types[2 * layer + 1], DType::Q6_K);
  }
}

// llama-quantize makes a file that nothing can read of them.
TEST(RecipeChoice, OptionsFallBackToo) {
  const LanguageModel model{.architecture = "llama", .layers = 1};
  const std::vector<Tensor> odd = {{"output.weight", {4, 80}}};
  EXPECT_EQ(choose({.recipe = Recipe::Q4_K_M, .output_tensor_type = DType::Q6_K}, model, odd), (Types{DType::F16}));
}

TEST(RecipeChoice, ExpertsSayWhichLayerTheyAreIn) {
  const LanguageModel model{.architecture = "llama", .layers = 16, .experts = 8};
  const std::vector<Tensor> named = {{"blk.15.ffn_down_exps.weight", {8, 256, 256}},
                                     {"blk.2.ffn_down_exps.weight", {8, 256, 256}},
                                     {"blk.3.ffn_down_exps.weight", {8, 256, 256}}};
  EXPECT_EQ(choose({Recipe::Q4_K_M}, model, named), (Types{DType::Q6_K, DType::Q4_K, DType::Q4_K}));
  const std::vector<Tensor> nameless = {{"mtp.ffn_down.weight", kMatrix}}, beyond = {{"blk.16.ffn_up.weight", kMatrix}};
  for (const auto& tensors : {nameless, beyond}) {
    const auto run = [&](const RecipeOptions& options) {
      return problem_of([&] { choose(options, model, tensors); }, ErrorCode::invalid_argument);
    };
    EXPECT_NE(run({Recipe::Q4_K_M}).find("tensor '" + tensors[0].name + "'"), std::string::npos);
    EXPECT_NE(run({Recipe::Q4_0}).find("expected blk.N. with N below 16"), std::string::npos);
    EXPECT_EQ(run({.recipe = Recipe::Q4_0, .pure = true}), "");
    EXPECT_EQ(run({Recipe::IQ2_M}), "");
    EXPECT_EQ(run({Recipe::MXFP4_MOE}), "");
    EXPECT_EQ(run({Recipe::F16}), "");
  }
}

std::string refusal(const RecipeOptions& options, const Tensor& tensor, DType to, bool has_imatrix = false) {
  return problem_of([&] { require_allowed(options, info_of(tensor), to, has_imatrix); }, ErrorCode::unsupported);
}

TEST(RecipeChoice, NothingIsQuantisedTwiceUnlessAllowed) {
  const Tensor tensor{"a.weight", kMatrix, DType::Q8_0};
  const std::string problem = refusal({Recipe::Q4_K_M}, tensor, DType::Q4_K);
  EXPECT_NE(problem.find("'a.weight'"), std::string::npos) << problem;
  EXPECT_NE(problem.find("--allow-requantize"), std::string::npos) << problem;
  EXPECT_NE(refusal({Recipe::F16}, tensor, DType::F16), "");
  EXPECT_EQ(refusal({Recipe::Q8_0}, tensor, DType::Q8_0), "");
  EXPECT_EQ(refusal({.recipe = Recipe::Q4_K_M, .allow_requantize = true}, tensor, DType::Q4_K), "");
  EXPECT_EQ(refusal({Recipe::Q4_K_M}, {"a.weight", kMatrix, DType::BF16}, DType::Q4_K), "");
}

TEST(RecipeChoice, TheSmallestTypesNeedAnImportanceMatrix) {
  const Tensor tensor{"a.weight", kMatrix};
  const std::string problem = refusal({Recipe::IQ2_XS}, tensor, DType::IQ2_XS);
  EXPECT_NE(problem.find("'a.weight'"), std::string::npos) << problem;
  EXPECT_NE(problem.find("IQ2_XS"), std::string::npos) << problem;
  EXPECT_NE(problem.find("--imatrix FILE"), std::string::npos) << problem;
  for (const DType type : {DType::IQ1_S, DType::IQ1_M, DType::IQ2_XXS, DType::IQ2_S, DType::IQ3_XXS}) {
    EXPECT_NE(refusal({Recipe::Q4_K_M}, tensor, type), "") << name(type);
    EXPECT_EQ(refusal({Recipe::Q4_K_M}, tensor, type, true), "") << name(type);
    EXPECT_EQ(refusal({Recipe::Q4_K_M}, {"output.weight", kMatrix}, type), "") << name(type);
    EXPECT_EQ(refusal({Recipe::Q4_K_M}, {"token_embd.weight", kMatrix}, type), "") << name(type);
    EXPECT_EQ(refusal({Recipe::Q4_K_M}, {"a.weight", kMatrix, type}, type), "") << name(type);
  }
  EXPECT_NE(refusal({Recipe::Q2_K_S}, tensor, DType::Q2_K), "");
  EXPECT_EQ(refusal({Recipe::Q2_K}, tensor, DType::Q2_K), "");
  EXPECT_EQ(refusal({Recipe::IQ3_S}, tensor, DType::IQ3_S), "");
}

}  // namespace
}  // namespace headrace::plan
