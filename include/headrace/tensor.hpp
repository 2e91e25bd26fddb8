// TensorInfo: what a checkpoint's header says about one tensor.
#pragma once

#include <headrace/dtype.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace headrace {

/// Dimensions, outermost first (row-major, as torch and safetensors have them; GGUF files list them the other way
/// round). Empty for a scalar.
using Shape = std::span<const std::uint64_t>;

/// "[4096, 11008]"; "[]" for a scalar.
std::string to_string(Shape shape);

/// How the stored bytes relate to the tensor's elements: whoever reads them goes by this.
enum class Encoding : std::uint8_t {
  plain,         ///< row-major, little-endian, nothing in between
  byte_swapped,  ///< as plain, each number in the other byte order
  strided,       ///< a view: rows or columns of a larger tensor, or a transposed one
  affine,        ///< small integers with a scale and a minimum (TensorFlow.js), or F16 for F32
  joined,        ///< in a plan alone: runs of the numbers of other tensors
  scaled,        ///< in a plan alone: 8-bit floats times a scale that is a tensor of its own
};

/// "plain", "byte_swapped", "strided", "affine", "joined", "scaled". Static storage.
std::string_view to_string(Encoding encoding) noexcept;

/// One tensor of a checkpoint. A view: name and shape belong to the Checkpoint and live as long as it does.
struct TensorInfo {
  std::string_view name;
  Shape shape;
  std::uint64_t elements = 0;  ///< product of the shape; 1 for a scalar
  std::uint64_t offset = 0;    ///< of the first byte, from the start of its file
  std::uint64_t bytes = 0;     ///< of its elements; where the encoding isn't plain, the file may hold fewer or more
  DType dtype = DType::F32;
  Encoding encoding = Encoding::plain;
  std::uint32_t file = 0;  ///< which of its checkpoint's files

  /// Elements per row: the innermost dimension, 1 for a scalar.
  std::uint64_t row_elements() const noexcept { return shape.empty() ? 1 : shape.back(); }
};

}  // namespace headrace
