#include "plan/language_model.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>

namespace headrace::plan {
namespace {

constexpr std::size_t kArrayPrefix = 4 + 8;  // element type, count

// An architecture and the number of layers by which llama.cpp tells its models of 70 billion weights.
struct Large {
  std::string_view architecture;
  std::uint32_t layers;
  bool unlike_65b = false;  // the model of 65 has as many layers, but a head of keys for each of queries
};
constexpr std::array<Large, 6> k70b = {
    {{"llama", 80, true}, {"llama-embed", 80, true}, {"qwen2", 80}, {"deci", 80}, {"olmo", 80}, {"jais2", 68}}};

bool is_70b(const LanguageModel& model, bool heads_share_keys) {
  return std::ranges::any_of(k70b, [&](const Large& row) {
    return row.architecture == model.architecture && row.layers == model.layers &&
           (!row.unlike_65b || (heads_share_keys && model.experts != 8));
  });
}

[[noreturn]] void refuse(std::string problem, std::string found = {}) {
  throw Error(ErrorCode::invalid_argument, std::move(problem),
              {.found = std::move(found),
               .hint = "recipes choose for language models in GGUF; for all others there are --type and --rule"});
}

// Some models have a number for each layer: the first counts.
MetadataValue first_of(const MetadataValue& value) {
  if (value.type() != ValueType::array || value.element_count() == 0) return value;
  const ValueType type = value.element_type();
  return {type, value.bytes().subspan(kArrayPrefix).first(size_of(type))};
}

// Nothing where there is no such key.
std::optional<std::uint32_t> number_of(const Metadata& metadata, const std::string& key) {
  const auto value = metadata.find(key);
  if (!value) return std::nullopt;
  const auto number = first_of(*value).as_u64();
  if (!number || *number > std::numeric_limits<std::uint32_t>::max())
    refuse(fmt::format("metadata '{}' is no whole number", format::printable(key)), value->to_string());
  return static_cast<std::uint32_t>(*number);
}

}  // namespace

LanguageModel language_model(const Metadata& metadata) {
  const auto architecture = metadata.find("general.architecture");
  if (!architecture) refuse("the metadata has no 'general.architecture'");
  const auto text = architecture->as_string();
  if (!text) refuse("metadata 'general.architecture' is no text", architecture->to_string());
  // What makes images or sounds readable for one ("mmproj"): llama-quantize asks nothing more of it.
  if (*text == "clip") return {.architecture = std::string(*text)};
  const auto number = [&](std::string_view key) { return number_of(metadata, fmt::format("{}.{}", *text, key)); };
  const auto layers = number("block_count");
  if (!layers) refuse(fmt::format("the metadata has no '{}.block_count'", format::printable(*text)));
  const std::uint32_t heads = number("attention.head_count").value_or(0);
  const std::uint32_t key_heads = number("attention.head_count_kv").value_or(heads);
  LanguageModel model{.architecture = std::string(*text),
                      .layers = *layers,
                      .experts = number("expert_count").value_or(0),
                      .queries_per_key = key_heads == 0 ? 0 : heads / key_heads};
  model.is_70b = is_70b(model, heads != key_heads);
  return model;
}

}  // namespace headrace::plan
