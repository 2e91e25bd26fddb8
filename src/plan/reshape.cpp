#include "plan/reshape.hpp"

#include "format/gguf/gguf.hpp"
#include "format/printable.hpp"
#include "plan/shapes.hpp"
#include "plan/tally.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace headrace::plan {
namespace {

// Remembers in the GGUF's metadata what shape tensor `i` really has.
void record_shape(Draft& draft, std::size_t i, Shape shape) {
  const TensorInfo& tensor = draft.tensors[i];
  std::vector<std::int32_t> dims;
  for (const std::uint64_t dim : shape) {
    if (dim > std::numeric_limits<std::int32_t>::max()) {
      throw Error(ErrorCode::unsupported, "a dimension is too large to be recorded when merged for GGUF",
                  {.file = draft.sources[draft.origins[i].source]->file.name(),
                   .tensor = format::printable(tensor.name),
                   .expected = "at most 2147483647",
                   .found = to_string(shape),
                   .hint = "--to safetensors keeps it"});
    }
    dims.push_back(static_cast<std::int32_t>(dim));
  }
  draft.metadata.append(std::string(kOriginalShape) + std::string(tensor.name), ValueType::array,
                        MetadataValue::i32_array(dims));
}

// GGUF: at most four dimensions, the rest goes to the metadata. What the source's own metadata says of a tensor's shape
// stays, for that is the older shape; where it fits no longer, it goes.
void merge_ranks(Draft& draft, std::span<const RecordedShapes> recorded) {
  for (const RecordedShapes& records : recorded) {
    for (const std::string& key : records.unusable()) {
      if (!draft.renamed) draft.metadata.erase(key);
      draft.notes.push_back(fmt::format("metadata '{}' is left out: it fits no tensor", format::printable(key)));
    }
  }
  Tally merged;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    TensorInfo& tensor = draft.tensors[i];
    const std::optional<Shape> old = recorded[draft.origins[i].source].find(draft.origins[i].tensor);
    const bool deep = tensor.shape.size() > format::gguf::kMaxRankWritten;
    if (old && !old->empty() && draft.renamed) record_shape(draft, i, *old);
    if (!deep) continue;
    if (!old) record_shape(draft, i, tensor.shape);
    tensor.shape = merge_outermost(tensor.shape, draft.texts);
    merged.add(tensor.name);
  }
  if (merged.count > 0) {
    draft.notes.push_back(
        fmt::format("more than 4 dimensions: the outermost are merged, and the shape is recorded in the metadata: {}",
                    merged.text()));
  }
}

// GGUF: at least one dimension. Tensors that come from a GGUF keep what they have there.
void widen_scalars(Draft& draft, std::span<const RecordedShapes> recorded) {
  static constexpr std::uint64_t kOne = 1;
  std::vector<std::string_view> names;
  std::size_t widened = 0;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    const Plan::Impl::Origin& origin = draft.origins[i];
    TensorInfo& tensor = draft.tensors[i];
    if (draft.sources[origin.source]->header.format == Format::gguf) {
      const std::optional<Shape> old = recorded[origin.source].find(origin.tensor);
      if (draft.renamed && old && old->empty()) names.push_back(tensor.name);
    } else if (tensor.shape.empty()) {
      tensor.shape = Shape(&kOne, 1);
      names.push_back(tensor.name);
      ++widened;
    }
  }
  if (!names.empty()) draft.metadata.set_string_array(kScalars, names);
  if (widened > 0) {
    draft.notes.push_back(fmt::format(
        "{} scalars, the first '{}', become vectors of one element, and are recorded as scalars in the metadata",
        widened, format::printable(names.front())));
  }
}

// The way back: shapes that were recorded when their dimensions were merged.
void restore_shapes(Draft& draft, std::span<const RecordedShapes> recorded) {
  Tally restored;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    const std::optional<Shape> shape = recorded[draft.origins[i].source].find(draft.origins[i].tensor);
    if (!shape) continue;
    draft.tensors[i].shape = draft.texts.copy(*shape);
    restored.add(draft.tensors[i].name);
  }
  if (restored.count > 0) draft.notes.push_back(fmt::format("the recorded shape is restored: {}", restored.text()));
  for (const RecordedShapes& records : recorded) {
    for (const std::string& key : records.unusable())
      draft.notes.push_back(fmt::format("metadata '{}' is left out: it fits no tensor", format::printable(key)));
  }
}

}  // namespace

void fit_shapes(Draft& draft) {
  std::vector<RecordedShapes> recorded;
  recorded.reserve(draft.sources.size());
  for (const Plan::Impl::Source& source : draft.sources) recorded.emplace_back(source->header);
  if (draft.to == Format::safetensors) return restore_shapes(draft, recorded);
  merge_ranks(draft, recorded);
  widen_scalars(draft, recorded);
}

}  // namespace headrace::plan
