#include "plan/draft.hpp"

#include "codec/codec.hpp"
#include "format/allowance.hpp"
#include "format/gguf/gguf.hpp"
#include "format/printable.hpp"
#include "plan/choose_type.hpp"
#include "plan/gather.hpp"
#include "plan/join_metadata.hpp"
#include "plan/metadata_map.hpp"
#include "plan/reshape.hpp"
#include "plan/tally.hpp"
#include "plan/type_rules.hpp"
#include "plan/weigh.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace headrace::plan {
namespace {

constexpr std::size_t kLongestName = 63;  // bytes; ggml's GGML_MAX_NAME less the final zero

Format other(Format format) { return format == Format::gguf ? Format::safetensors : Format::gguf; }

// What the user can do about a tensor of a type that the target can't hold.
std::string way_out(DType dtype, Format to) {
  std::string ways;
  if ((is_float(dtype) || is_block(dtype)) && codec::can_decode(dtype))
    ways = "--type f16 (or another type) converts it";
  if (format::holds(other(to), dtype))
    ways += fmt::format("{}--to {} keeps it", ways.empty() ? "" : ", ", name(other(to)));
  return ways;
}

std::optional<DType> asked_for(const Draft& draft, std::size_t i) {
  const std::uint16_t rule = draft.origins[i].rule;
  return rule == Plan::Impl::Origin::kNoRule ? draft.options.type : draft.options.type_rules[rule].type;
}

// Throws unless tensor `i` of the draft can be made of its source's numbers.
void require_possible(const Draft& draft, std::size_t i) {
  const TensorInfo& source = draft.source_of(i);
  const DType from = source.dtype, to = draft.tensors[i].dtype;
  const auto refuse = [&](std::string problem, std::string hint) {
    throw Error(ErrorCode::unsupported, std::move(problem),
                {.file = draft.sources[draft.origins[i].source]->file_of(source).name(),
                 .tensor = format::printable(source.name),
                 .hint = std::move(hint)});
  };
  if (!format::holds(draft.to, to)) {
    const DType asked = asked_for(draft, i).value_or(to);  // `to` may be what its rows made it fall back to
    refuse(fmt::format("{} can't hold {} tensors", name(draft.to), name(format::holds(draft.to, asked) ? to : asked)),
           to == from                           ? way_out(to, draft.to)
           : format::holds(other(draft.to), to) ? fmt::format("--to {} can", name(other(draft.to)))
                                                : "choose another type");
  }
  if (to == from) return;
  if (!codec::can_decode(from)) {
    refuse(fmt::format("this version can't decode {} to make {}", name(from), name(to)),
           format::holds(draft.to, from) ? "without a type it is copied as it is" : way_out(from, draft.to));
  }
  if (!codec::can_encode(to)) {
    refuse(fmt::format("this version can't make {} tensors", name(to)),
           is_block(to) ? "it reads them; choose another type" : "choose another type");
  }
}

// What the caller asked for the tensor of that name.
Wish wish_for(const ConvertOptions& options, TypeRules& rules, std::string_view name) {
  const auto rule = rules.match(name);
  return {rule ? options.type_rules[*rule].type : options.type, rule, options.skip_list};
}

// Rules that match, but never get to say anything: an earlier one did, or the tensors are of a type that stays.
void note_idle_rules(Draft& draft, const std::vector<bool>& has_decided) {
  for (std::size_t i = 0; i < has_decided.size(); ++i) {
    if (has_decided[i]) continue;
    const TypeRule& rule = draft.options.type_rules[i];
    draft.notes.push_back(
        fmt::format("rule '{}={}' decides nothing: earlier rules or the tensors' own types leave it "
                    "nothing to do",
                    format::printable(rule.pattern), name(rule.type)));
  }
  if (draft.options.skip_list != SkipList::none && !draft.options.type)
    draft.notes.push_back("the skip list keeps nothing: no type was asked for");
}

void choose_types(Draft& draft) {
  Tally fallback, requantised;
  TypeRules rules(draft.options.type_rules, draft.options.memory / 4);
  std::vector<bool> has_decided(draft.options.type_rules.size());
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    TensorInfo& tensor = draft.tensors[i];
    const DType from = tensor.dtype;
    const Wish wish = wish_for(draft.options, rules, tensor.name);
    const TypeChoice choice = choose_type(tensor, wish);
    draft.origins[i].why = choice.why;
    if (wish.rule && choice.why != Reason::not_float) {
      draft.origins[i].rule = static_cast<std::uint16_t>(*wish.rule);
      has_decided[*wish.rule] = true;
    }
    tensor.dtype = choice.to;
    if (choice.why == Reason::row_fallback) fallback.add(tensor.name);
    if (is_block(from) && is_block(choice.to) && choice.to != from) requantised.add(tensor.name);
    draft.retyped = draft.retyped || choice.to != from;
  }
  rules.require_all_matched();
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) require_possible(draft, i);
  note_idle_rules(draft, has_decided);
  if (fallback.count > 0) {
    draft.notes.push_back(fmt::format(
        "rows that are no whole number of blocks of the type asked for get another, see 'why': {}", fallback.text()));
  }
  if (requantised.count > 0) {
    draft.notes.push_back(fmt::format(
        "{} is quantised already and will be quantised a second time, which costs accuracy", requantised.text()));
  }
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
  const bool to_text = draft.to == Format::safetensors;
  const GgufMetadata gguf{draft.tensors, draft.retyped, draft.renamed, draft.options.architecture, unusable};
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
  for (const Plan::Impl::Source& source : draft.sources) pairs += source->header.metadata.memory();
  if (draft.sources.size() > 1) pairs *= 3;
  const std::size_t tensors = draft.tensors.capacity() * (sizeof(TensorInfo) + sizeof(Plan::Impl::Origin));
  format::Allowance(draft.output.string(), draft.options.memory)
      .require(memory_of(draft.sources) + tensors + draft.texts.memory() + pairs + memory_to_fit_shapes(draft));
  ShapeFitter fitter(draft);
  draft.metadata = metadata_of(draft, fitter.unusable());
  fitter.fit();
}

bool changes_metadata(const Draft& draft) {
  if (draft.sources.size() > 1) return true;
  if (draft.to != draft.sources.front()->header.format) return true;
  if (draft.to == Format::safetensors) return false;
  const bool deep = std::ranges::any_of(
      draft.tensors, [](const TensorInfo& tensor) { return tensor.shape.size() > format::gguf::kMaxRankWritten; });
  return draft.retyped || draft.renamed || draft.options.architecture || deep;
}

}  // namespace

Draft draft_conversion(std::span<const Input> inputs, const std::filesystem::path& output, Format to,
                       const ConvertOptions& options) {
  if (inputs.empty()) throw Error(ErrorCode::invalid_argument, "a conversion needs an input");
  if (options.architecture && to != Format::gguf) {
    throw Error(ErrorCode::invalid_argument, "--architecture is for GGUF outputs; safetensors has no such field",
                {.file = output.string()});
  }
  Draft draft;
  draft.inputs.assign(inputs.begin(), inputs.end());
  draft.output = output;
  draft.to = to;
  draft.options = options;
  open_sources(draft);
  gather_tensors(draft);
  choose_types(draft);
  weigh(draft);
  draft.keeps_metadata = !changes_metadata(draft);
  if (!draft.keeps_metadata) change_metadata(draft);
  if (to == Format::gguf) note_long_names(draft);
  return draft;
}

}  // namespace headrace::plan
