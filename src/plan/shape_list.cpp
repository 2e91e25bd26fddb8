#include "plan/shape_list.hpp"

#include "format/allowance.hpp"
#include "format/name_index.hpp"
#include "format/printable.hpp"
#include "plan/patterns.hpp"
#include "plan/prune.hpp"
#include "plan/tally.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace headrace::plan {
namespace {

// An option's patterns, each of which has to match something.
class PatternList {
 public:
  PatternList(std::string option, std::span<const std::string> patterns, std::uint64_t memory)
      : option_(std::move(option)), patterns_(patterns) {
    const std::uint64_t each = memory_each(patterns.size(), memory, option_ + " patterns");
    for (const std::string& pattern : patterns) compiled_.push_back(compile(pattern, each, text_of(pattern)));
    matched_.resize(patterns.size());
  }

  std::optional<std::size_t> match(std::string_view name) {
    std::string copy;
    const std::string_view text = searchable(name, copy);
    std::optional<std::size_t> first;
    for (std::size_t i = 0; i < compiled_.size(); ++i) {
      if ((first && matched_[i]) || !matches(*compiled_[i], text)) continue;
      matched_[i] = true;
      if (!first) first = i;
    }
    return first;
  }

  const RE2& operator[](std::size_t i) const { return *compiled_[i]; }
  std::string text_of(std::string_view pattern) const {
    return fmt::format("{} '{}'", option_, format::printable(pattern));
  }

  void require_all_matched() const {
    for (std::size_t i = 0; i < matched_.size(); ++i) {
      if (!matched_[i])
        throw Error(ErrorCode::invalid_argument, text_of(patterns_[i]) + " matches no tensor",
                    {.hint = "'headrace inspect FILE --tensors' lists the names"});
    }
  }

 private:
  std::string option_;
  std::span<const std::string> patterns_;
  std::vector<std::unique_ptr<RE2>> compiled_;
  std::vector<bool> matched_;
};

constexpr std::size_t kLongestName = std::size_t{64} << 10;  // bytes; replacements that double could go on for ever

void rename(Draft& draft, std::size_t i, std::string_view name) {
  if (draft.tensors[i].name == name) return;
  if (name.empty()) {
    throw Error(ErrorCode::invalid_argument, "nothing would be left of the name",
                {.tensor = format::printable(draft.tensors[i].name)});
  }
  if (name.size() > kLongestName) {
    throw Error(ErrorCode::invalid_argument, "the new name is too long",
                {.tensor = format::printable(draft.tensors[i].name),
                 .expected = fmt::format("at most {} bytes", kLongestName),
                 .found = fmt::to_string(name.size())});
  }
  draft.tensors[i].name = draft.texts.copy(name);
  format::Allowance(draft.output.string(), draft.options.memory)
      .require(memory_of(draft.sources) + draft.texts.memory() + draft.tensors.size() * sizeof(TensorInfo));
  draft.renamed = true;
}

// --select and --drop.
void choose(Draft& draft) {
  const Shaping& shaping = draft.options.shaping;
  if (shaping.select.empty() && shaping.drop.empty()) return;
  PatternList select("--select", shaping.select, draft.options.memory / 4);
  PatternList drop("--drop", shaping.drop, draft.options.memory / 4);
  std::vector<bool> out(draft.tensors.size());
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    const bool selected = select.match(draft.tensors[i].name) || shaping.select.empty();
    const auto dropped = drop.match(draft.tensors[i].name);
    if (dropped) {
      draft.drop(i, drop.text_of(shaping.drop[*dropped]), out);
    } else if (!selected) {
      draft.drop(i, "no --select matches it", out);
    }
  }
  select.require_all_matched();
  drop.require_all_matched();
  draft.leave_out(out);
}

void keep_prefix(Draft& draft, std::string_view prefix, const std::string& why) {
  std::vector<bool> out(draft.tensors.size());
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    const std::string_view name = draft.tensors[i].name;
    if (name.starts_with(prefix)) {
      rename(draft, i, name.substr(prefix.size()));
    } else {
      draft.drop(i, why, out);
    }
  }
  draft.leave_out(out);
}

bool any_begins(const Draft& draft, std::string_view prefix) {
  return std::ranges::any_of(draft.tensors, [&](const TensorInfo& tensor) { return tensor.name.starts_with(prefix); });
}

// Where components lie in the checkpoints that people have: all-in-one files of stable-diffusion.cpp, original ones of
// SD1 and SDXL, pipelines of diffusers.
struct ComponentPrefixes {
  std::string_view component;
  std::array<std::string_view, 3> prefixes;
};
constexpr std::array<ComponentPrefixes, 10> kComponents = {{
    {"vae", {"first_stage_model."}},
    {"diffusion_model", {"model.diffusion_model.", "transformer.", "unet."}},
    {"transformer", {"model.diffusion_model."}},
    {"unet", {"model.diffusion_model."}},
    {"clip_l",
     {"text_encoders.clip_l.transformer.", "cond_stage_model.transformer.", "conditioner.embedders.0.transformer."}},
    {"clip_g", {"text_encoders.clip_g.transformer.", "conditioner.embedders.1.model."}},
    {"t5xxl", {"text_encoders.t5xxl.transformer."}},
    {"text_encoder", {"text_encoders.clip_l.transformer.", "cond_stage_model.transformer."}},
    {"text_encoder_2", {"text_encoders.clip_g.transformer.", "text_encoders.t5xxl.transformer."}},
    {"text_encoder_3", {"text_encoders.t5xxl.transformer."}},
}};

// The component's own name is tried first.
std::vector<std::string> prefixes_of(const std::string& component) {
  std::vector<std::string> prefixes = {component.ends_with('.') ? component : component + "."};
  for (const ComponentPrefixes& known : kComponents) {
    if (known.component != component) continue;
    for (const std::string_view prefix : known.prefixes) {
      if (!prefix.empty()) prefixes.emplace_back(prefix);
    }
  }
  return prefixes;
}

void take_component(Draft& draft) {
  const std::string& component = draft.options.shaping.component;
  if (component.empty()) return;
  const std::vector<std::string> prefixes = prefixes_of(component);
  const auto at = std::ranges::find_if(prefixes, [&](const std::string& prefix) { return any_begins(draft, prefix); });
  if (at != prefixes.end()) return keep_prefix(draft, *at, fmt::format("--component {}", component));
  std::vector<std::string> tried;
  for (const std::string& prefix : prefixes) tried.push_back(fmt::format("'{}'", format::printable(prefix)));
  throw Error(ErrorCode::invalid_argument, fmt::format("there is no component '{}' here", format::printable(component)),
              {.file = draft.sources.front()->location,
               .expected = fmt::format("names that begin with {}", fmt::join(tried, " or ")),
               .hint = "'headrace inspect FILE --tensors' lists the names"});
}

// The profile's prefix: a model inside a larger checkpoint, or one whose every name begins alike.
void take_out_of_prefix(Draft& draft) {
  for (const ProfilePrefix& prefix : draft.profile.prefixes) {
    const auto has_it = [&](const TensorInfo& tensor) { return tensor.name.starts_with(prefix.text); };
    if (!any_begins(draft, prefix.text) || (prefix.of_all && !std::ranges::all_of(draft.tensors, has_it))) continue;
    const std::string why = fmt::format("--for {} takes what begins with '{}'", draft.profile.name, prefix.text);
    return keep_prefix(draft, prefix.text, why);
  }
}

void strip(Draft& draft) {
  const auto& prefixes = draft.options.shaping.strip_prefixes;
  std::vector<bool> used(prefixes.size());
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    const std::string_view name = draft.tensors[i].name;
    std::optional<std::size_t> first;
    for (std::size_t k = 0; k < prefixes.size(); ++k) {
      if (!name.starts_with(prefixes[k])) continue;
      used[k] = true;
      if (!first) first = k;
    }
    if (first) rename(draft, i, name.substr(prefixes[*first].size()));
  }
  const auto idle = std::ranges::find(used, false);
  if (idle == used.end()) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("--strip-prefix '{}': no tensor begins with it",
                          format::printable(prefixes[static_cast<std::size_t>(idle - used.begin())])));
}

void rename_all(Draft& draft) {
  const auto& renames = draft.options.shaping.renames;
  if (renames.empty()) return;
  std::vector<std::string> patterns;
  for (const Rename& rename : renames) patterns.push_back(rename.pattern);
  PatternList list("--rename", patterns, draft.options.memory / 4);
  for (std::size_t i = 0; i < renames.size(); ++i) {
    std::string problem;
    if (!list[i].CheckRewriteString(renames[i].replacement, &problem)) {
      throw Error(ErrorCode::invalid_argument, fmt::format("{}: '{}' can't replace it: {}", list.text_of(patterns[i]),
                                                           format::printable(renames[i].replacement), problem));
    }
  }
  std::vector<bool> used(renames.size());
  std::string name;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    name = draft.tensors[i].name;
    for (std::size_t k = 0; k < renames.size(); ++k) {
      if (RE2::GlobalReplace(&name, list[k], renames[k].replacement) > 0) used[k] = true;
      if (name.size() > kLongestName) break;  // rename() refuses it
    }
    rename(draft, i, name);
  }
  const auto idle = std::ranges::find(used, false);
  if (idle == used.end()) return;
  throw Error(ErrorCode::invalid_argument,
              list.text_of(patterns[static_cast<std::size_t>(idle - used.begin())]) + " matches no tensor",
              {.hint = "'headrace inspect FILE --tensors' lists the names"});
}

void put_prefix(Draft& draft) {
  const std::string& prefix = draft.options.shaping.prefix;
  if (prefix.empty()) return;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) rename(draft, i, prefix + std::string(draft.tensors[i].name));
}

// One more than the highest layer's number; 0 where no name has one.
std::uint32_t block_count(const Draft& draft) {
  static const RE2 kLayer("blk\\.(\\d{1,6})\\.");
  std::uint32_t count = 0, layer = 0;
  for (const TensorInfo& tensor : draft.tensors) {
    if (RE2::PartialMatch(re2::StringPiece(tensor.name.data(), tensor.name.size()), kLayer, &layer))
      count = std::max(count, layer + 1);
  }
  return count;
}

void prune(Draft& draft) {
  const auto& layers = draft.options.shaping.prune_layers;
  if (layers.empty()) return;
  const LayerPruning& pruning = draft.pruning.emplace(layers, block_count(draft));
  std::vector<bool> out(draft.tensors.size());
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    if (const auto name = pruning.renamed(draft.tensors[i].name)) {
      rename(draft, i, *name);
    } else {
      draft.drop(i, "--prune-layers", out);
    }
  }
  draft.renamed = true;
  draft.leave_out(out);
}

// The file of a tensor, and its name there where that is another.
std::string claim(const Draft& draft, std::size_t i) {
  const std::string& file = draft.file_of(i).name();
  const std::string_view name = draft.source_of(i).name;
  return name == draft.tensors[i].name ? fmt::format("'{}'", file)
                                       : fmt::format("'{}' (as '{}')", file, format::printable(name));
}

// Calls `on_clash(first, second)` for every tensor whose name an earlier one has.
template <class OnClash>
void find_duplicates(const Draft& draft, const OnClash& on_clash) {
  const auto name_of = [&](std::size_t i) { return draft.tensors[i].name; };
  format::NameIndex index;
  index.reserve(draft.tensors.size(), name_of);
  std::vector<std::uint32_t> entered;  // the index counts what was entered
  const auto name_of_entry = [&](std::size_t i) { return draft.tensors[entered[i]].name; };
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    entered.push_back(static_cast<std::uint32_t>(i));
    if (index.add(name_of(i), name_of_entry)) continue;
    entered.pop_back();
    std::uint32_t& first = entered[*index.find(name_of(i), name_of_entry)];
    if (on_clash(first, i)) first = static_cast<std::uint32_t>(i);
  }
}

void settle_duplicates(Draft& draft) {
  if (!draft.renamed) return;  // within one file names are unique
  const Prefer prefer = draft.options.shaping.prefer;
  if (prefer == Prefer::none)
    return refuse_duplicates(draft,
                             "a prefix for one of them keeps both: --component PREFIX=FILE; --prefer first (or "
                             "last) takes one of them");
  std::vector<bool> out(draft.tensors.size());
  Tally settled;
  find_duplicates(draft, [&](std::size_t first, std::size_t second) {
    const std::size_t loser = prefer == Prefer::first ? second : first;
    settled.add(draft.tensors[loser].name);
    draft.drop(loser, fmt::format("--prefer {}", prefer == Prefer::first ? "first" : "last"), out);
    return prefer == Prefer::last;
  });
  if (settled.count > 0) {
    draft.notes.push_back(fmt::format("of two with one name the {} is taken: {}",
                                      prefer == Prefer::first ? "first" : "last", settled.text()));
  }
  draft.leave_out(out);
}

}  // namespace

void refuse_duplicates(const Draft& draft, const std::string& way_out) {
  find_duplicates(draft, [&](std::size_t first, std::size_t second) -> bool {
    throw Error(ErrorCode::conflict, fmt::format("{} and {} both have it", claim(draft, first), claim(draft, second)),
                {.tensor = format::printable(draft.tensors[second].name), .hint = way_out});
  });
}

void shape_list(Draft& draft) {
  take_component(draft);
  choose(draft);
  take_out_of_prefix(draft);
  strip(draft);
  rename_all(draft);
  put_prefix(draft);
  prune(draft);
  settle_duplicates(draft);
}

}  // namespace headrace::plan
