#include "plan/draft.hpp"

#include "format/allowance.hpp"
#include "format/gguf/gguf.hpp"
#include "format/printable.hpp"
#include "plan/decide.hpp"
#include "plan/derive.hpp"
#include "plan/gather.hpp"
#include "plan/join_metadata.hpp"
#include "plan/metadata_map.hpp"
#include "plan/metadata_override.hpp"
#include "plan/recognise.hpp"
#include "plan/reshape.hpp"
#include "plan/shape_list.hpp"
#include "plan/tally.hpp"
#include "plan/weigh.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace headrace::plan {
namespace {

constexpr std::size_t kLongestName = 63;  // bytes; ggml's GGML_MAX_NAME less the final zero

void note_dropped(Draft& draft) {
  Tally out;
  for (const DroppedTensor& tensor : draft.dropped) out.add(tensor.name);
  if (out.count > 0) draft.notes.push_back(fmt::format("left out: {}; --explain NAME says why", out.text()));
}

void note_long_names(Draft& draft) {
  Tally longer;
  for (const TensorInfo& tensor : draft.tensors) {
    if (tensor.name.size() > kLongestName) longer.add(tensor.name);
  }
  if (longer.count > 0) {
    draft.notes.push_back(
        fmt::format("a name longer than {} bytes, which ggml's own reader refuses: {}", kLongestName, longer.text()));
  }
}

// The pairs of all sources, in the language of the output. `unusable`: keys that record shapes of no tensor.
Metadata metadata_of(Draft& draft, const KeySet& unusable) {
  std::optional<std::uint32_t> file_type;
  if (draft.options.recipe) file_type = info(draft.options.recipe->recipe).file_type;
  const bool to_text = draft.to == Format::safetensors;
  const GgufMetadata gguf{draft.tensors, draft.retyped, draft.renamed, draft.architecture, file_type, unusable};
  if (draft.sources.size() == 1) {
    const format::Header& header = draft.sources.front()->header;
    if (to_text) return metadata_for_safetensors(header.metadata, draft.notes);
    return header.format == Format::gguf ? gguf.from_gguf(header.metadata, draft.notes)
                                         : gguf.from_pairs(header.metadata, draft.notes);
  }
  std::vector<Metadata> texts;
  std::vector<MetadataPart> parts;
  texts.reserve(draft.sources.size());
  for (std::size_t i = 0; i < draft.sources.size(); ++i) {
    const format::Header& header = draft.sources[i]->header;
    const bool translate = to_text && header.format == Format::gguf;
    const Metadata& pairs =
        translate ? texts.emplace_back(metadata_for_safetensors(header.metadata, draft.notes)) : header.metadata;
    parts.push_back({&pairs, draft.sources[i]->location, draft.inputs[i].prefix.empty()});
  }
  const Metadata joined = join_metadata(parts, draft.notes);
  return to_text ? joined : gguf.from_pairs(joined, draft.notes);
}

// The output gets metadata of its own, which is as large as the sources' and what is recorded of shapes; joining holds
// the pairs twice more.
void change_metadata(Draft& draft) {
  std::size_t pairs = 0;
  for (const Source& source : draft.sources) pairs += source->header.metadata.memory();
  if (draft.sources.size() > 1) pairs *= 3;
  const std::size_t tensors = draft.tensors.capacity() * (sizeof(TensorInfo) + sizeof(Origin));
  format::Allowance(draft.output.string(), draft.options.memory)
      .require(memory_of(draft.sources) + tensors + draft.texts.memory() + pairs + memory_to_fit_shapes(draft));
  ShapeFitter fitter(draft);
  draft.metadata = metadata_of(draft, fitter.unusable());
  fitter.fit();
}

bool changes_metadata(const Draft& draft) {
  if (draft.sources.size() > 1 || !draft.options.metadata.empty() || draft.options.recipe) return true;
  if (!draft.profile.metadata.empty()) return true;
  if (draft.to != draft.sources.front()->header.format) return true;
  if (draft.to == Format::safetensors) return false;
  const bool deep = std::ranges::any_of(
      draft.tensors, [](const TensorInfo& tensor) { return tensor.shape.size() > format::gguf::kMaxRankWritten; });
  return draft.retyped || draft.renamed || draft.rearranged || draft.architecture || deep;
}

// What the profile and the caller set, and what is known of pruned layers.
void override_metadata(Draft& draft) {
  if (draft.to == Format::gguf && !draft.profile.name.empty() && !draft.metadata.find("general.file_type"))
    draft.metadata.set_u32("general.file_type", file_type_of(draft.tensors));
  if (draft.to == Format::gguf && draft.pruning) {
    const auto architecture = draft.metadata.find("general.architecture");
    const auto name = architecture ? architecture->as_string() : std::nullopt;
    if (name) draft.metadata.set_u32(std::string(*name) + ".block_count", draft.pruning->kept_layers());
  }
  for (const MetadataOverride& pair : draft.profile.metadata) set_override(pair, draft.to, draft.metadata);
  for (const MetadataOverride& pair : draft.options.metadata) set_override(pair, draft.to, draft.metadata);
}

void require_sense(const Request& request) {
  const ConvertOptions& options = request.options;
  if (request.inputs.empty()) throw Error(ErrorCode::invalid_argument, "a conversion needs an input");
  if (options.architecture && request.to != Format::gguf) {
    throw Error(ErrorCode::invalid_argument, "--architecture is for GGUF outputs; safetensors has no such field",
                {.file = request.output.string()});
  }
  if (options.recipe && options.type)
    throw Error(ErrorCode::invalid_argument, "--recipe and --type both choose types", {.hint = "give one of them"});
  if (options.recipe && request.to != Format::gguf)
    throw Error(ErrorCode::invalid_argument, "a recipe's types are GGUF's", {.file = request.output.string()});
  if (options.recipe && request.inputs.size() > 1)
    throw Error(ErrorCode::invalid_argument, "a recipe is for one model", {.hint = "give one input"});
}

}  // namespace

void Draft::leave_out(const std::vector<bool>& out) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (out[i]) continue;
    tensors[kept] = tensors[i];
    origins[kept] = origins[i];
    ++kept;
  }
  if (kept == tensors.size()) return;
  tensors.resize(kept);
  origins.resize(kept, {});
  renamed = true;
}

void Draft::drop(std::size_t i, std::string why, std::vector<bool>& out) {
  out[i] = true;
  dropped.push_back({tensors[i].name, at(first_of(i)).name, first_of(i).source, std::move(why)});
}

Draft draft_conversion(const Request& request) {
  require_sense(request);
  Draft draft;
  draft.inputs.assign(request.inputs.begin(), request.inputs.end());
  draft.output = request.output;
  draft.to = request.to;
  draft.in_memory = request.in_memory;
  draft.options = request.options;
  draft.architecture = request.options.architecture;
  if (request.opened) draft.sources = *request.opened;
  if (!request.opened) open_sources(draft);
  if (draft.in_memory) draft.output = draft.inputs.front().location;  // as errors call it
  load_profile(draft);
  gather_tensors(draft);
  shape_list(draft);
  const bool had_some = !draft.tensors.empty() || !draft.dropped.empty();
  derive(draft);
  recognise(draft);
  decide_types(draft, request.measured);
  if (had_some && draft.tensors.empty())
    throw Error(ErrorCode::invalid_argument, "no tensor would be left", {.file = draft.output.string()});
  if (draft.profile.longest_name) require_short_names(draft);
  note_dropped(draft);
  note_unreadable(draft);
  const bool has_more =
      !draft.profile.architectures.empty() || draft.retyped || draft.renamed || !draft.unmeasured.empty();
  if (!draft.profile.name.empty() && !draft.options.type && !draft.options.recipe && !has_more)
    draft.notes.push_back(fmt::format("--for {} keeps nothing: no type was asked for", draft.profile.name));
  weigh(draft);
  draft.keeps_metadata = draft.in_memory || !changes_metadata(draft);
  if (draft.in_memory) ShapeFitter(draft).fit();
  if (!draft.keeps_metadata) {
    change_metadata(draft);
    override_metadata(draft);
  }
  if (draft.to == Format::gguf && !draft.profile.longest_name) note_long_names(draft);
  return draft;
}

}  // namespace headrace::plan
