// Shapes that a format can't write as they are, and how they come back.
//
// GGUF files have one to four dimensions. A tensor with more is stored with its outermost ones merged, and its real
// shape in the metadata under "comfy.gguf.orig_shape.<name>" (an int32 array, outermost first), as ComfyUI-GGUF reads
// it. A scalar is stored as a vector of one element, as ggml itself does, and named in "headrace.scalars" (an array of
// strings): the format could say "no dimensions", but readers in use fail on that.
#pragma once

#include "base/arena.hpp"
#include "format/header.hpp"

#include <headrace/tensor.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace headrace::plan {

inline constexpr std::string_view kOriginalShape = "comfy.gguf.orig_shape.";
inline constexpr std::string_view kScalars = "headrace.scalars";

/// True for the keys under which shapes are recorded.
inline bool records_shapes(std::string_view key) { return key == kScalars || key.starts_with(kOriginalShape); }

/// `shape` with its outermost dimensions merged until four are left. The result lives in `arena` or is `shape` itself.
Shape merge_outermost(Shape shape, base::Arena& arena);

/// The shapes that a GGUF's tensors had before it was written, as its metadata records them. Views into this object
/// and the header, which must outlive it.
class RecordedShapes {
 public:
  /// Records nothing for a header of another format.
  explicit RecordedShapes(const format::Header& header);

  /// The recorded shape of a tensor, or else its own.
  Shape of(std::size_t tensor) const { return find(tensor).value_or(header_.tensors.tensors()[tensor].shape); }
  /// Nothing where no shape is recorded.
  std::optional<Shape> find(std::size_t tensor) const;
  /// Metadata keys whose record fits no tensor.
  const std::vector<std::string>& unusable() const noexcept { return unusable_; }

 private:
  void add_original(std::string_view key, const MetadataValue& value);
  void add_scalars(const MetadataValue& names);

  const format::Header& header_;
  base::Arena arena_;
  std::unordered_map<std::size_t, Shape> shapes_;
  std::vector<std::string> unusable_;
};

}  // namespace headrace::plan
