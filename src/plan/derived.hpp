// Derived: a tensor that no input has as such. It is joined from several, or a part of one, or 8-bit floats times
// their scale.
#pragma once

#include <headrace/tensor.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace headrace::plan {

/// A tensor of an input.
struct TensorRef {
  std::uint32_t source;  // index in the plan's sources
  std::uint32_t tensor;  // index in that source's tensors
  bool operator==(const TensorRef&) const = default;
};

/// Whole rows along a tensor's first dimension, one run of its elements.
struct Range {
  TensorRef from;
  std::uint64_t first_element, elements;
  /// Of one element for the whole tensor, or of one for each index of its first dimension.
  std::optional<TensorRef> scale = {};
};

/// Its numbers are those of the ranges, one after the other.
struct Derived {
  /// Name, type, shape and elements as an input would list it. Where it is one unscaled range of a plain tensor it is
  /// plain too, with the file and offset of the range; else its encoding is `joined` or `scaled`, and file and offset
  /// are where its first range begins. Scaled numbers are F32.
  TensorInfo info;
  std::vector<Range> ranges;
};

}  // namespace headrace::plan
