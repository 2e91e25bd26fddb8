#include "plan/reshape.hpp"

#include "format/gguf/gguf.hpp"
#include "format/printable.hpp"
#include "plan/tally.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace headrace::plan {
namespace {

bool is_deep(Shape shape) { return shape.size() > format::gguf::kMaxRankWritten; }

}  // namespace

// Twice, for the list grows by copying.
std::size_t memory_to_fit_shapes(const Draft& draft) {
  constexpr std::size_t kPair = 64;  // what the list holds of a pair besides its bytes
  std::size_t bytes = 0;
  if (draft.to != Format::gguf) return bytes;
  for (const TensorInfo& tensor : draft.tensors) {
    const std::size_t record = kOriginalShape.size() + tensor.name.size() + kPair;
    if (is_deep(tensor.shape) || draft.rearranged) bytes += 2 * (record + tensor.shape.size() * sizeof(std::int32_t));
    if (tensor.shape.empty()) bytes += 2 * (tensor.name.size() + sizeof(std::uint64_t) + sizeof(std::string_view));
  }
  return bytes;
}

ShapeFitter::ShapeFitter(Draft& draft) : draft_(draft) {
  recorded_.reserve(draft.sources.size());
  for (const Source& source : draft.sources) recorded_.emplace_back(source->header);
}

KeySet ShapeFitter::unusable() const {
  KeySet keys;
  for (const RecordedShapes& records : recorded_) keys.insert(records.unusable().begin(), records.unusable().end());
  return keys;
}

void ShapeFitter::fit() {
  Tally unusable;
  for (const RecordedShapes& records : recorded_) {
    for (const std::string& key : records.unusable()) unusable.add(key);
  }
  if (unusable.count > 0)
    draft_.notes.push_back(fmt::format("metadata that fits no tensor is left out: {}", unusable.text("pair")));
  if (draft_.to == Format::safetensors) return restore();
  merge_ranks();
  widen_scalars();
}

std::optional<Shape> ShapeFitter::recorded(std::size_t i) const {
  const Origin& origin = draft_.origins[i];
  if (origin.source == Origin::kDerived && draft_.derived[origin.tensor].info.encoding != Encoding::scaled) return {};
  const TensorRef ref = draft_.first_of(i);
  return recorded_[ref.source].find(ref.tensor);
}

// Remembers in the GGUF's metadata what shape tensor `i` really has.
void ShapeFitter::record(std::size_t i, Shape shape) {
  const TensorInfo& tensor = draft_.tensors[i];
  std::vector<std::int32_t> dims;
  for (const std::uint64_t dim : shape) {
    if (dim > std::numeric_limits<std::int32_t>::max()) {
      throw Error(ErrorCode::unsupported, "a dimension is too large to be recorded when merged for GGUF",
                  {.file = draft_.file_of(i).name(),
                   .tensor = format::printable(tensor.name),
                   .expected = "at most 2147483647",
                   .found = to_string(shape),
                   .hint = "--to safetensors keeps it"});
    }
    dims.push_back(static_cast<std::int32_t>(dim));
  }
  draft_.metadata.append(std::string(kOriginalShape) + std::string(tensor.name), ValueType::array,
                         MetadataValue::i32_array(dims));
}

// GGUF: at most four dimensions, the rest goes to the metadata. What the source's own metadata says of a tensor's shape
// stays, for that is the older shape.
void ShapeFitter::merge_ranks() {
  Tally merged;
  for (std::size_t i = 0; i < draft_.tensors.size(); ++i) {
    TensorInfo& tensor = draft_.tensors[i];
    const std::optional<Shape> old = recorded(i);
    const bool rearranged = draft_.rearranged && !std::ranges::equal(tensor.shape, draft_.source_of(i).shape);
    if (old && !old->empty() && (draft_.renamed || rearranged)) record(i, *old);
    if (rearranged && !old) record(i, draft_.source_of(i).shape);
    if (!is_deep(tensor.shape)) continue;
    if (!old) record(i, tensor.shape);
    tensor.shape = merge_outermost(tensor.shape, draft_.texts);
    merged.add(tensor.name);
  }
  if (merged.count > 0) {
    draft_.notes.push_back(
        fmt::format("more than 4 dimensions: the outermost are merged, and the shape is recorded in the metadata: {}",
                    merged.text()));
  }
}

// GGUF: at least one dimension. Tensors that come from a GGUF keep what they have there.
void ShapeFitter::widen_scalars() {
  static constexpr std::uint64_t kOne = 1;
  std::vector<std::string_view> names;
  std::size_t widened = 0;
  for (std::size_t i = 0; i < draft_.tensors.size(); ++i) {
    TensorInfo& tensor = draft_.tensors[i];
    if (draft_.checkpoint_of(i).header.format == Format::gguf) {
      const std::optional<Shape> old = recorded(i);
      if (draft_.renamed && old && old->empty()) names.push_back(tensor.name);
    } else if (tensor.shape.empty()) {
      tensor.shape = Shape(&kOne, 1);
      names.push_back(tensor.name);
      ++widened;
    }
  }
  if (!names.empty()) draft_.metadata.set_string_array(kScalars, names);
  if (widened > 0) {
    draft_.notes.push_back(fmt::format(
        "{} scalars, the first '{}', become vectors of one element, and are recorded as scalars in the metadata",
        widened, format::printable(names.front())));
  }
}

// The way back: shapes that were recorded when their dimensions were merged.
void ShapeFitter::restore() {
  Tally restored;
  for (std::size_t i = 0; i < draft_.tensors.size(); ++i) {
    const std::optional<Shape> shape = recorded(i);
    if (!shape) continue;
    draft_.tensors[i].shape = draft_.texts.copy(*shape);
    restored.add(draft_.tensors[i].name);
  }
  if (restored.count > 0) draft_.notes.push_back(fmt::format("the recorded shape is restored: {}", restored.text()));
}

}  // namespace headrace::plan
