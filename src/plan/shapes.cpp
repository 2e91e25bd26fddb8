#include "plan/shapes.hpp"

#include "base/checked.hpp"

#include <vector>

namespace headrace::plan {

Shape merge_outermost(Shape shape, base::Arena& arena) {
  if (shape.size() <= kMostGgufDims) return shape;
  const std::size_t merged = shape.size() - kMostGgufDims + 1;
  std::vector<std::uint64_t> dims(kMostGgufDims);
  // The product of all dimensions fits 64 bits, so a part of them does too unless another one is 0.
  dims[0] = base::checked_product(shape.first(merged)).value_or(0);
  for (std::size_t i = 1; i < kMostGgufDims; ++i) dims[i] = shape[merged + i - 1];
  return arena.copy(std::span<const std::uint64_t>(dims));
}

std::optional<Shape> original_shape(const MetadataValue& value, std::uint64_t elements, base::Arena& arena) {
  const auto numbers = value.as_i32_array();
  if (!numbers) return std::nullopt;
  std::vector<std::uint64_t> dims;
  for (const std::int32_t number : *numbers) {
    if (number < 0) return std::nullopt;
    dims.push_back(static_cast<std::uint64_t>(number));
  }
  if (base::checked_product(dims) != elements) return std::nullopt;
  return arena.copy(std::span<const std::uint64_t>(dims));
}

}  // namespace headrace::plan
