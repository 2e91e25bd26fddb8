#include "plan/draft.hpp"

#include "codec/codec.hpp"
#include "format/allowance.hpp"
#include "format/gguf/gguf.hpp"
#include "plan/choose_type.hpp"
#include "plan/metadata_map.hpp"
#include "plan/shapes.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace headrace::plan {
namespace {

constexpr std::size_t kLongestName = 63;  // bytes; ggml's GGML_MAX_NAME less the final zero

// Counts the tensors something happens to and remembers the first, for one note or error about all of them.
struct Tally {
  std::size_t count = 0;
  std::string_view first;

  void add(std::string_view name) {
    if (count++ == 0) first = name;
  }
  std::string text() const {
    return count == 1 ? fmt::format("tensor '{}'", first) : fmt::format("{} tensors, the first '{}'", count, first);
  }
};

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

void require_possible(const Draft& draft, const TensorInfo& tensor, DType to) {
  const auto refuse = [&](std::string problem, std::string hint) {
    throw Error(ErrorCode::unsupported, std::move(problem),
                {.file = draft.source->file.name(), .tensor = std::string(tensor.name), .hint = std::move(hint)});
  };
  const std::string_view from = name(tensor.dtype);
  if (!format::holds(draft.to, to)) {
    const bool asked = to != tensor.dtype;
    refuse(fmt::format("{} can't hold {} tensors", name(draft.to), name(to)),
           !asked                               ? way_out(to, draft.to)
           : format::holds(other(draft.to), to) ? fmt::format("--to {} can", name(other(draft.to)))
                                                : "choose another --type");
  }
  if (to == tensor.dtype) return;
  if (!codec::can_decode(tensor.dtype)) {
    refuse(fmt::format("this version can't decode {} to make {}", from, name(to)),
           format::holds(draft.to, tensor.dtype) ? "without --type it is copied as it is"
                                                 : way_out(tensor.dtype, draft.to));
  }
  if (!codec::can_encode(to))
    refuse(fmt::format("this version can't make {} tensors", name(to)), "choose another --type");
}

void choose_types(Draft& draft) {
  Tally fallback, requantised;
  const auto sources = draft.source->header.tensors.tensors();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    TensorInfo tensor = sources[i];
    const TypeChoice choice = choose_type(tensor, draft.options.type);
    require_possible(draft, tensor, choice.to);
    if (choice.why == Reason::row_fallback) fallback.add(tensor.name);
    if (is_block(tensor.dtype) && is_block(choice.to) && choice.to != tensor.dtype) requantised.add(tensor.name);
    draft.retyped = draft.retyped || choice.to != tensor.dtype;
    tensor.dtype = choice.to;
    tensor.encoding = Encoding::plain;
    draft.tensors.push_back(tensor);
    draft.origins.push_back({static_cast<std::uint32_t>(i), choice.why});
  }
  if (fallback.count > 0) {
    draft.notes.push_back(fmt::format("rows that are no whole number of {} blocks get another type, see 'why': {}",
                                      name(*draft.options.type), fallback.text()));
  }
  if (requantised.count > 0) {
    draft.notes.push_back(fmt::format(
        "{} is quantised already and will be quantised a second time, which costs accuracy", requantised.text()));
  }
}

std::vector<std::int32_t> recordable(const Draft& draft, const TensorInfo& tensor) {
  std::vector<std::int32_t> dims;
  for (const std::uint64_t dim : tensor.shape) {
    if (dim > std::numeric_limits<std::int32_t>::max()) {
      throw Error(ErrorCode::unsupported, "a dimension is too large to be recorded when merged for GGUF",
                  {.file = draft.source->file.name(),
                   .tensor = std::string(tensor.name),
                   .expected = "at most 2147483647",
                   .found = to_string(tensor.shape),
                   .hint = "--to safetensors keeps it"});
    }
    dims.push_back(static_cast<std::int32_t>(dim));
  }
  return dims;
}

// GGUF: at most four dimensions, the rest goes to the metadata. What the source's own metadata says of a tensor's shape
// stays, for that is the older shape; where it fits no longer, it goes.
void merge_ranks(Draft& draft) {
  const RecordedShapes recorded(draft.source->header);
  for (const std::string& key : recorded.unusable()) {
    draft.metadata.erase(key);
    draft.notes.push_back(fmt::format("metadata '{}' is left out: it fits no tensor", key));
  }
  Tally merged;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    TensorInfo& tensor = draft.tensors[i];
    if (tensor.shape.size() <= format::gguf::kMaxRankWritten) continue;
    if (!recorded.all().contains(i)) {
      const std::string key = std::string(kOriginalShape) + std::string(tensor.name);
      draft.metadata.append(key, ValueType::array, MetadataValue::i32_array(recordable(draft, tensor)));
    }
    tensor.shape = merge_outermost(tensor.shape, draft.shapes);
    merged.add(tensor.name);
  }
  if (merged.count > 0) {
    draft.notes.push_back(
        fmt::format("more than 4 dimensions: the outermost are merged, and the shape is recorded in the metadata: {}",
                    merged.text()));
  }
}

// GGUF: at least one dimension. Copies of GGUF files keep what they have.
void widen_scalars(Draft& draft) {
  static constexpr std::uint64_t kOne = 1;
  std::vector<std::string_view> names;
  Tally scalars;
  for (TensorInfo& tensor : draft.tensors) {
    if (!tensor.shape.empty()) continue;
    tensor.shape = Shape(&kOne, 1);
    names.push_back(tensor.name);
    scalars.add(tensor.name);
  }
  if (names.empty()) return;
  draft.metadata.set_string_array(kScalars, names);
  draft.notes.push_back(fmt::format(
      "{} scalars, the first '{}', become vectors of one element, and are recorded as scalars in the metadata",
      names.size(), names.front()));
}

// The way back: shapes that were recorded when their dimensions were merged.
void restore_shapes(Draft& draft) {
  const RecordedShapes recorded(draft.source->header);
  Tally restored;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    if (!recorded.all().contains(i)) continue;
    draft.tensors[i].shape = draft.shapes.copy(recorded.of(i));
    restored.add(draft.tensors[i].name);
  }
  if (restored.count > 0) draft.notes.push_back(fmt::format("the recorded shape is restored: {}", restored.text()));
  for (const std::string& key : recorded.unusable()) {
    draft.notes.push_back(fmt::format("metadata '{}' is left out: it fits no tensor", key));
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

// The output gets metadata of its own, which is as large as the source's.
void change_metadata(Draft& draft) {
  const format::Header& header = draft.source->header;
  const std::size_t tensors = draft.tensors.capacity() * (sizeof(TensorInfo) + sizeof(Plan::Impl::Origin));
  format::Allowance(draft.output.string(), draft.options.memory)
      .require(draft.source->memory() + tensors + header.metadata.memory());
  if (draft.to == Format::safetensors) {
    draft.metadata = metadata_for_safetensors(header.metadata, draft.notes);
    restore_shapes(draft);
    return;
  }
  draft.metadata = metadata_for_gguf(header.metadata, header.format, draft.tensors, draft.retyped,
                                     draft.options.architecture, draft.notes);
  merge_ranks(draft);
  if (header.format == Format::safetensors) widen_scalars(draft);
}

}  // namespace

Draft draft_conversion(std::shared_ptr<const Checkpoint::Impl> source, const std::filesystem::path& output, Format to,
                       const ConvertOptions& options) {
  Draft draft;
  draft.source = std::move(source);
  draft.output = output;
  draft.to = to;
  draft.options = options;
  if (options.architecture && to != Format::gguf) {
    throw Error(ErrorCode::invalid_argument, "--architecture is for GGUF outputs; safetensors has no such field",
                {.file = output.string()});
  }
  const format::Header& header = draft.source->header;
  draft.tensors.reserve(header.tensors.tensors().size());
  draft.origins.reserve(header.tensors.tensors().size());
  choose_types(draft);
  const bool deep = std::ranges::any_of(
      draft.tensors, [](const TensorInfo& tensor) { return tensor.shape.size() > format::gguf::kMaxRankWritten; });
  const bool same_format = to == header.format;
  const bool same_gguf = !draft.retyped && !options.architecture && !deep;
  draft.keeps_metadata = same_format && (to == Format::safetensors || same_gguf);
  if (!draft.keeps_metadata) change_metadata(draft);
  if (to == Format::gguf) note_long_names(draft);
  return draft;
}

}  // namespace headrace::plan
