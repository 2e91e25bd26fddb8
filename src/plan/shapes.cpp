#include "plan/shapes.hpp"

#include "base/checked.hpp"
#include "format/gguf/gguf.hpp"

namespace headrace::plan {
namespace {

constexpr std::size_t kMostDims = format::gguf::kMaxRankWritten;

// The shape that the value of a kOriginalShape key stands for, when it describes a tensor of `elements` elements.
std::optional<std::vector<std::uint64_t>> shape_in(const MetadataValue& value, std::uint64_t elements) {
  const auto numbers = value.as_i32_array();
  if (!numbers) return std::nullopt;
  std::vector<std::uint64_t> dims;
  for (const std::int32_t number : *numbers) {
    if (number < 0) return std::nullopt;
    dims.push_back(static_cast<std::uint64_t>(number));
  }
  if (base::checked_product(dims) != elements) return std::nullopt;
  return dims;
}

}  // namespace

Shape merge_outermost(Shape shape, base::Arena& arena) {
  if (shape.size() <= kMostDims) return shape;
  const std::size_t merged = shape.size() - kMostDims + 1;
  std::vector<std::uint64_t> dims(kMostDims);
  // The product of all dimensions fits 64 bits, so a part of them does too unless another one is 0.
  dims[0] = base::checked_product(shape.first(merged)).value_or(0);
  for (std::size_t i = 1; i < kMostDims; ++i) dims[i] = shape[merged + i - 1];
  return arena.copy(std::span<const std::uint64_t>(dims));
}

RecordedShapes::RecordedShapes(const format::Header& header) : header_(header) {
  if (header.format != Format::gguf) return;
  for (std::size_t i = 0; i < header.metadata.size(); ++i) {
    const std::string_view key = header.metadata.key(i);
    if (key.starts_with(kOriginalShape)) add_original(key, header.metadata.value(i));
    if (key == kScalars) add_scalars(header.metadata.value(i));
  }
}

void RecordedShapes::add_original(std::string_view key, const MetadataValue& value) {
  const auto tensor = header_.tensors.find(key.substr(kOriginalShape.size()));
  const auto dims = tensor ? shape_in(value, header_.tensors.tensors()[*tensor].elements) : std::nullopt;
  if (dims) {
    shapes_[*tensor] = arena_.copy(std::span<const std::uint64_t>(*dims));
  } else {
    unusable_.emplace_back(key);
  }
}

void RecordedShapes::add_scalars(const MetadataValue& names) {
  const auto texts = names.as_string_array();
  bool usable = texts.has_value();
  for (const std::string_view name : texts.value_or(std::vector<std::string_view>())) {
    const auto tensor = header_.tensors.find(name);
    if (tensor && header_.tensors.tensors()[*tensor].elements == 1) {
      shapes_[*tensor] = Shape();
    } else {
      usable = false;
    }
  }
  if (!usable) unusable_.emplace_back(kScalars);
}

std::optional<Shape> RecordedShapes::find(std::size_t tensor) const {
  const auto at = shapes_.find(tensor);
  return at == shapes_.end() ? std::nullopt : std::optional(at->second);
}

}  // namespace headrace::plan
