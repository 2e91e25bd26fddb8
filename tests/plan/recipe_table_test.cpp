// What llama-quantize chose for models of many kinds, tensor for tensor: tests/data/recipes, whose README says how it
// was recorded and how it is written down.
#include "plan/prune.hpp"
#include "plan/recipe.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include <regex.h>

namespace headrace::plan {
namespace {

using nlohmann::json;

const std::string kFolder = HEADRACE_TEST_DATA "/recipes/";

json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return json::parse(file);
}

DType dtype_of(const json& name) { return parse_dtype(name.get<std::string>()).value(); }

std::optional<DType> option_of(const json& set, const char* key) {
  return set.contains(key) ? std::optional(dtype_of(set.at(key))) : std::nullopt;
}

struct Tensor {
  std::string key;   // without "blk.N.": what the choices call it
  std::string name;  // in the output
  std::vector<std::uint64_t> shape;
  DType dtype;
};

// A layout with `set`: options that change what it says or holds.
struct Model {
  LanguageModel facts;
  std::vector<Tensor> tensors;  // in llama-quantize's order
  std::uint32_t kept_layers = 0;

  Model(const json& layout, const json& set) : facts(facts_of(layout, set)) {
    std::optional<LayerPruning> pruning;
    if (set.contains("prune")) pruning.emplace(set.at("prune").get<std::vector<std::uint32_t>>(), facts.layers);
    const auto add = [&](const json& row, const std::string& before) {
      const auto key = row.at(0).get<std::string>();
      auto name = before + key;
      if (pruning) {
        const auto renamed = pruning->renamed(name);
        if (!renamed) return;
        name = *renamed;
      }
      tensors.push_back({key, name, row.at(1).get<std::vector<std::uint64_t>>(), dtype_of(row.at(2))});
    };
    for (const json& row : layout.at("tensors")) add(row, "");
    for (const json& group : layout.at("layers")) {
      for (int layer = group.at("from"); layer < group.at("to"); ++layer) {
        for (const json& row : group.at("tensors")) add(row, "blk." + std::to_string(layer) + ".");
      }
    }
    kept_layers = pruning ? pruning->kept_layers() : facts.layers;
  }

  std::vector<TensorInfo> infos() const {
    std::vector<TensorInfo> out;
    for (const Tensor& tensor : tensors) {
      TensorInfo& info = out.emplace_back();
      info.name = tensor.name;
      info.shape = tensor.shape;
      info.dtype = tensor.dtype;
    }
    return out;
  }

  static LanguageModel facts_of(const json& layout, const json& set) {
    Metadata metadata;
    metadata.set_string("general.architecture", layout.at("architecture").get<std::string>());
    const auto put = [&](const std::string& key, const json& value) {
      if (value.is_number_unsigned()) metadata.set_u32(key, value);
    };
    for (const auto& [key, value] : layout.at("metadata").items()) put(key, value);
    if (set.contains("kv")) {
      for (const json& pair : set.at("kv")) put(pair.at(0), pair.at(1));
    }
    return language_model(metadata);
  }
};

// The types of all tensors as a row of "types" has them.
std::vector<DType> types_of(const json& layout, const Model& model, const json& choice) {
  std::map<std::string, std::vector<DType>> lists;  // for the layers in turn
  for (const auto& [key, value] : choice.items()) {
    if (!value.is_array()) continue;
    for (const json& run : value) lists[key].insert(lists[key].end(), run.at(0), dtype_of(run.at(1)));
  }
  const auto kept = layout.at("kept").get<std::set<std::string>>();
  std::map<std::string, std::size_t> used;
  std::vector<DType> types;
  for (const Tensor& tensor : model.tensors) {
    if (kept.contains(tensor.key)) {
      types.push_back(tensor.dtype);
    } else if (lists.contains(tensor.key)) {
      types.push_back(lists.at(tensor.key).at(used[tensor.key]++));
    } else {
      types.push_back(dtype_of(choice.contains(tensor.key) ? choice.at(tensor.key) : choice.at("*")));
    }
  }
  return types;
}

bool holds_match(const std::string& name, const std::string& pattern) {
  regex_t compiled;
  EXPECT_EQ(::regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB), 0) << pattern;
  const bool found = ::regexec(&compiled, name.c_str(), 0, nullptr, 0) == 0;
  ::regfree(&compiled);
  return found;
}

// Those that a user's own patterns settle.
std::vector<bool> decided_by(const json& set, const Model& model) {
  std::vector<bool> decided(model.tensors.size());
  for (const json& pair : set.value("tt", json::array())) {
    for (std::size_t i = 0; i < decided.size(); ++i)
      decided[i] = decided[i] || holds_match(model.tensors[i].name, pair.at(0));
  }
  return decided;
}

RecipeOptions options_of(Recipe recipe, const json& set) {
  for (const auto& [key, value] : set.items()) {
    const bool known = key == "pure" || key == "output_tensor_type" || key == "token_embedding_type" ||
                       key == "quantize_output_tensor" || key == "tt" || key == "prune" || key == "kv";
    EXPECT_TRUE(known) << key;
  }
  return {.recipe = recipe,
          .pure = set.value("pure", false),
          .output_tensor_type = option_of(set, "output_tensor_type"),
          .token_embedding_type = option_of(set, "token_embedding_type"),
          .leave_output_tensor = !set.value("quantize_output_tensor", true)};
}

struct Counts {
  std::size_t layouts = 0, runs = 0;
  std::size_t choices = 0;    // compared
  std::size_t refusals = 0;   // runs that both refuse
  std::size_t stricter = 0;   // runs that Headrace refuses, and llama-quantize doesn't
  std::size_t strangers = 0;  // runs of recipes that Headrace hasn't
};

// One layout: all that was asked of llama-quantize about it.
class Comparison {
 public:
  Comparison(json layout, Counts& counts) : layout_(std::move(layout)), counts_(counts) {
    ++counts_.layouts;
    for (const bool has_imatrix : {false, true}) {
      for (const auto& [recipe, result] : layout_.at(has_imatrix ? "choices_imatrix" : "choices").items())
        compare(recipe, has_imatrix, json::object(), result.is_object() ? result : json{{"types", result}});
    }
    for (const json& run : layout_.value("options", json::array()))
      compare(run.at("recipe"), run.value("imatrix", false), run.at("set"), run);
  }

 private:
  void compare(const std::string& name, bool has_imatrix, const json& set, const json& result) {
    SCOPED_TRACE(name + (has_imatrix ? " with an importance matrix " : " ") + set.dump());
    const std::optional<Recipe> recipe = parse_recipe(name);
    if (!recipe) {
      EXPECT_TRUE(name == "Q1_0" || name == "Q2_0");
      ++counts_.strangers;
      return;
    }
    ++counts_.runs;
    if (prunes_what_is_not_there(set)) {
      EXPECT_THROW(Model(layout_, set), Error);
      ++counts_.stricter;
      return;
    }
    const RecipeOptions options = options_of(*recipe, set);
    const Model model(layout_, set);
    EXPECT_EQ(model.kept_layers, result.value("block_count", model.facts.layers));
    if (result.contains("error")) {
      EXPECT_THROW(choose(options, model, set, has_imatrix), Error) << result.at("error");
      ++counts_.refusals;
    } else {
      compare_types(model, decided_by(set, model), choose(options, model, set, has_imatrix),
                    types_of(layout_, model, layout_.at("types").at(result.at("types").get<std::size_t>())));
    }
  }

  bool prunes_what_is_not_there(const json& set) const {
    if (!set.contains("prune")) return false;
    const std::uint32_t layers = Model::facts_of(layout_, set).layers;
    return std::ranges::any_of(set.at("prune"), [&](std::uint32_t layer) { return layer >= layers; });
  }

  // What every tensor becomes; of those that are decided, what they were.
  static std::vector<DType> choose(const RecipeOptions& options, const Model& model, const json& set,
                                   bool has_imatrix) {
    const auto tensors = model.infos();
    const RecipeChoice choice(options, model.facts, tensors, decided_by(set, model), has_imatrix);
    std::vector<DType> types;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      types.push_back(choice.type(i).value_or(tensors[i].dtype));
      require_allowed(options, tensors[i], types.back(), has_imatrix);
    }
    const auto order = recipe_order(tensors);
    EXPECT_TRUE(std::ranges::is_sorted(order));  // the tables list them so
    return types;
  }

  void compare_types(const Model& model, const std::vector<bool>& decided, const std::vector<DType>& ours,
                     const std::vector<DType>& theirs) {
    for (std::size_t i = 0; i < ours.size(); ++i) {
      if (decided[i]) continue;
      EXPECT_EQ(name(ours[i]), name(theirs[i])) << model.tensors[i].name;
      ++counts_.choices;
    }
  }

  json layout_;
  Counts& counts_;
};

TEST(RecipeTable, EveryChoiceIsLlamaQuantizes) {
  Counts counts;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".json") continue;
    json layout = read_json(entry.path());
    if (!layout.contains("choices")) continue;
    SCOPED_TRACE(entry.path().filename().string());
    Comparison(std::move(layout), counts);
  }
  std::printf(
      "%zu layouts, %zu runs: %zu choices compared; %zu runs refused by both, %zu by Headrace alone; %zu runs of "
      "recipes that it hasn't\n",
      counts.layouts, counts.runs, counts.choices, counts.refusals, counts.stricter, counts.strangers);
  EXPECT_GE(counts.layouts, 24U);
  EXPECT_GT(counts.choices, 400'000U);
}

TEST(RecipeTable, NumbersAndNamesAreLlamaCpps) {
  const json table = read_json(kFolder + "recipes.json").at("recipes");
  std::size_t known = 0;
  for (const auto& [text, row] : table.items()) {
    SCOPED_TRACE(text);
    const auto recipe = parse_recipe(text);
    if (!recipe) continue;
    ++known;
    EXPECT_EQ(name(*recipe), text);
    EXPECT_EQ(info(*recipe).file_type, row.at("file_type"));
    EXPECT_EQ(name(info(*recipe).type), row.at("base"));
    for (const json& other : row.value("also_called", json::array()))
      EXPECT_EQ(parse_recipe(other.get<std::string>()), recipe);
  }
  EXPECT_EQ(known, all_recipes().size());
}

}  // namespace
}  // namespace headrace::plan
