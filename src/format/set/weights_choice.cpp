#include "format/set/weights_choice.hpp"

#include "format/printable.hpp"
#include "format/set/members.hpp"
#include "format/set/mention.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace headrace::format::set {
namespace {

enum class Family : std::uint8_t { safetensors, gguf, torch, tfjs, numpy };

struct Suffix {
  std::string_view text;
  Family family;
};
constexpr std::array kSuffixes = {Suffix{".safetensors", Family::safetensors},
                                  Suffix{".gguf", Family::gguf},
                                  Suffix{".bin", Family::torch},
                                  Suffix{".pt", Family::torch},
                                  Suffix{".pth", Family::torch},
                                  Suffix{".ckpt", Family::torch},
                                  Suffix{".npz", Family::numpy}};

// The libraries' names, the most usual first. A name with something between it and its suffix is of a variant.
constexpr std::array<std::string_view, 3> kUsual = {"model", "pytorch_model", "diffusion_pytorch_model"};

// What trainers save beside the model with a model's suffix.
constexpr std::array<std::string_view, 5> kNoModel = {"training_args", "optimizer", "scheduler", "scaler", "rng_state"};

// A file, or all shards of a set, that can be the model.
struct Candidate {
  Family family = Family::safetensors;
  bool index = false;
  std::string_view base, variant;  // "model", "fp16"
  std::optional<PartName> part;    // of its first file
  std::string_view rest;           // what follows the part's number: ".safetensors"
  std::vector<std::string_view> files = {};
};

std::size_t rank_of(std::string_view base) {
  return static_cast<std::size_t>(std::ranges::find(kUsual, base) - kUsual.begin());
}
bool is_usual(std::string_view base) { return rank_of(base) < kUsual.size(); }

bool cut_suffix(std::string_view& name, std::string_view suffix) {
  if (name.size() <= suffix.size() || !name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  return true;
}

// Takes the variant off "model.fp16". A dot in another name may be anything: "qwen2.5", "v1.1".
std::string_view cut_variant(std::string_view& stem, std::string_view wanted, bool may_be_any) {
  const std::size_t dot = stem.rfind('.');
  if (dot == stem.npos || dot == 0 || dot + 1 == stem.size()) return {};
  const std::string_view variant = stem.substr(dot + 1), before = stem.substr(0, dot);
  const auto part = parse_part(before);
  if (variant != wanted && !(may_be_any && is_usual(part ? part->base : before))) return {};
  stem = before;
  return variant;
}

// "model", "model.fp16", "model-00001-of-00002", and the variant before or after the part's number.
void read_stem(Candidate& candidate, std::string_view stem, std::string_view wanted) {
  const bool may_be_any = candidate.family == Family::safetensors || candidate.family == Family::torch;
  candidate.part = parse_part(stem);
  if (candidate.part) stem = candidate.part->base;
  candidate.variant = cut_variant(stem, wanted, may_be_any);
  if (!candidate.part) {
    candidate.part = parse_part(stem);
    if (candidate.part) stem = candidate.part->base;
  }
  candidate.base = stem;
}

std::optional<Candidate> read_checkpoint(std::string_view name, std::string_view wanted) {
  for (const Suffix& suffix : kSuffixes) {
    std::string_view stem = name;
    if (!cut_suffix(stem, suffix.text)) continue;
    Candidate candidate;
    candidate.family = suffix.family;
    candidate.files = {name};
    read_stem(candidate, stem, wanted);
    if (candidate.part)
      candidate.rest = name.substr(candidate.part->base.size() + std::string_view("-00001-of-00002").size());
    const auto is_base = [&](std::string_view other) { return candidate.base.starts_with(other); };
    if (candidate.family == Family::torch && std::ranges::any_of(kNoModel, is_base)) return std::nullopt;
    return candidate;
  }
  return std::nullopt;
}

// TensorFlow.js always calls it so.
std::optional<Candidate> read_tfjs(std::string_view name) {
  if (name != "model.json") return std::nullopt;
  Candidate candidate;
  candidate.family = Family::tfjs;
  candidate.base = "model";
  candidate.files = {name};
  return candidate;
}

// "model.safetensors.index.json"; of a variant "model.safetensors.index.fp16.json",
// "model.fp16.safetensors.index.json".
std::optional<Candidate> read_index(std::string_view name, std::string_view wanted) {
  constexpr std::string_view kIndex = ".index";
  std::string_view stem = name;
  if (!cut_suffix(stem, ".json")) return std::nullopt;
  const std::size_t at = stem.rfind(kIndex);
  if (at == stem.npos) return std::nullopt;
  std::string_view variant = stem.substr(at + kIndex.size());
  if (!variant.empty() && (variant.front() != '.' || variant.size() == 1)) return std::nullopt;
  auto candidate = read_checkpoint(stem.substr(0, at), wanted);
  if (!candidate || candidate->part || (candidate->family != Family::safetensors && candidate->family != Family::torch))
    return std::nullopt;
  candidate->index = true;
  candidate->files = {name};
  if (!variant.empty()) candidate->variant = variant.substr(1);
  return candidate;
}

// The better ones first.
enum class Place : std::uint8_t {
  safetensors_index,
  safetensors_usual,
  safetensors_shards,
  torch_index,
  safetensors_other,
  gguf,
  torch_usual,
  torch_shards,
  torch_other,
  tfjs,
  numpy,
};

Place place_of(const Candidate& candidate) {
  const bool usual = is_usual(candidate.base);
  switch (candidate.family) {
    case Family::safetensors:
      if (candidate.index) return Place::safetensors_index;
      if (candidate.part) return Place::safetensors_shards;
      return usual ? Place::safetensors_usual : Place::safetensors_other;
    case Family::torch:
      if (candidate.index) return Place::torch_index;
      if (candidate.part) return Place::torch_shards;
      return usual ? Place::torch_usual : Place::torch_other;
    case Family::gguf: return Place::gguf;
    case Family::tfjs: return Place::tfjs;
    case Family::numpy: break;
  }
  return Place::numpy;
}

// Candidates that compare equal can't be told apart.
std::pair<Place, std::size_t> preference_of(const Candidate& candidate) {
  return {place_of(candidate), rank_of(candidate.base)};
}

// "group1-shard1of3.bin": weights of a TensorFlow.js model, with PyTorch's suffix.
bool is_tfjs_shard(std::string_view name) {
  constexpr std::string_view kDigits = "0123456789";
  if (!name.ends_with(".bin")) return false;
  name.remove_suffix(4);
  const std::size_t count = name.find_last_not_of(kDigits);
  if (count == name.npos || count + 1 == name.size() || !name.substr(0, count + 1).ends_with("of")) return false;
  name = name.substr(0, count - 1);
  const std::size_t number = name.find_last_not_of(kDigits);
  return number != name.npos && number + 1 != name.size() && name.substr(0, number + 1).ends_with("shard");
}

// All of a folder, shards of a set together. `names` are sorted, and so are a set's files.
std::vector<Candidate> read_names(const std::vector<std::string>& names, std::string_view wanted) {
  using Set = std::tuple<std::string_view, std::uint32_t, std::string_view>;
  std::vector<Candidate> candidates;
  std::map<Set, std::size_t> sets;
  for (const std::string& name : names) {
    auto candidate = read_checkpoint(name, wanted);
    if (!candidate) candidate = read_index(name, wanted);
    if (!candidate) candidate = read_tfjs(name);
    if (!candidate) continue;
    if (candidate->part) {
      const Set set{candidate->part->base, candidate->part->count, candidate->rest};
      const auto [at, is_new] = sets.emplace(set, candidates.size());
      if (!is_new) {
        candidates[at->second].files.push_back(name);
        continue;
      }
    }
    candidates.push_back(std::move(*candidate));
  }
  const auto is_tfjs = [](const Candidate& candidate) { return candidate.family == Family::tfjs; };
  if (std::ranges::any_of(candidates, is_tfjs)) {
    std::erase_if(candidates, [&](const Candidate& candidate) {
      return !is_tfjs(candidate) && is_tfjs_shard(candidate.files.front());
    });
  }
  return candidates;
}

[[noreturn]] void refuse_variants(const std::string& folder, const std::vector<Candidate>& candidates,
                                  std::string_view wanted) {
  std::set<std::string_view> variants;
  for (const Candidate& candidate : candidates) variants.insert(candidate.variant);
  const bool any_without = variants.erase(std::string_view()) != 0;
  Mention mention;
  for (const std::string_view variant : variants) mention.add(variant);
  if (wanted.empty()) {
    const std::string hint = variants.size() == 1 ? printable(*variants.begin()) : "VARIANT";
    throw Error(ErrorCode::invalid_argument, "all weights in this folder are of a variant",
                {.file = folder, .found = mention.text(), .hint = fmt::format("choose with --variant {}", hint)});
  }
  if (any_without) mention.add_words("files without a variant");
  throw Error(ErrorCode::invalid_argument, "this folder has no weights of the variant",
              {.file = folder, .expected = fmt::format("'{}'", printable(wanted)), .found = mention.text()});
}

std::vector<Candidate> of_variant(std::vector<Candidate> candidates, std::string_view variant) {
  std::erase_if(candidates, [&](const Candidate& candidate) { return candidate.variant != variant; });
  return candidates;
}

const Candidate& best_of(const std::string& folder, const std::vector<Candidate>& candidates) {
  const Candidate& best = *std::ranges::min_element(candidates, {}, preference_of);
  Mention equals;
  for (const Candidate& candidate : candidates) {
    if (preference_of(candidate) == preference_of(best)) equals.add(candidate.files.front());
  }
  if (equals.count() == 1) return best;
  throw Error(ErrorCode::invalid_argument, "this folder holds more than one checkpoint",
              {.file = folder, .found = equals.text(), .hint = "name the file"});
}

// Without an index, the numbers in the names tell whether all shards are there.
void require_shards(const std::string& folder, const Candidate& set) {
  const PartName& part = *set.part;
  if (set.files.size() == part.count) return;
  Mention missing;
  auto there = set.files.begin();
  for (std::uint32_t i = 1; i <= part.count && !missing.is_full(); ++i) {
    const std::string file = file_of_part(part.base, i, part.count, set.rest);
    const bool is_there = there != set.files.end() && *there == file;
    if (is_there) ++there;
    if (!is_there) missing.add(file);
  }
  missing.add_unnamed(part.count - set.files.size() - missing.count());
  throw Error(ErrorCode::format, "shards are missing from this folder",
              {.file = folder,
               .expected = fmt::format("{} shards", part.count),
               .found = fmt::format("no {}", missing.text()),
               .hint = "was the download interrupted?"});
}

}  // namespace

std::optional<WeightsChoice> choose_weights(const std::string& folder, std::vector<std::string> names,
                                            const Wish& wish) {
  std::ranges::sort(names);
  const std::vector<Candidate> all = read_names(names, wish.variant);
  if (all.empty()) return std::nullopt;
  std::vector<Candidate> candidates = of_variant(all, wish.variant);
  if (candidates.empty() && wish.or_without_variant) candidates = of_variant(all, {});
  if (candidates.empty()) refuse_variants(folder, all, wish.variant);

  const Candidate& best = best_of(folder, candidates);
  WeightsChoice choice{.files = {}, .variant = std::string(best.variant)};
  if (best.part && best.family != Family::gguf) {
    require_shards(folder, best);
    choice.files.assign(best.files.begin(), best.files.end());
  } else {
    choice.files.emplace_back(best.files.front());
  }
  return choice;
}

}  // namespace headrace::format::set
