// Shapes that a format can't write as they are, and how they come back.
//
// GGUF files have at most four dimensions. A tensor with more is stored with its outermost ones merged, and its real
// shape in the metadata under "comfy.gguf.orig_shape.<name>" (an int32 array, outermost first), as ComfyUI-GGUF reads
// it.
#pragma once

#include "base/arena.hpp"

#include <headrace/metadata.hpp>
#include <headrace/tensor.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace headrace::plan {

inline constexpr std::size_t kMostGgufDims = 4;
inline constexpr std::string_view kOriginalShape = "comfy.gguf.orig_shape.";

/// `shape` with its outermost dimensions merged until four are left. The result lives in `arena` or is `shape` itself.
Shape merge_outermost(Shape shape, base::Arena& arena);

/// The shape that the value of a kOriginalShape key stands for, when it describes a tensor of `elements` elements.
std::optional<Shape> original_shape(const MetadataValue& value, std::uint64_t elements, base::Arena& arena);

}  // namespace headrace::plan
