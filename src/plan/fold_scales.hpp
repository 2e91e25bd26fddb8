// Scaled FP8: 8-bit floats that mean nothing without the scale beside them.
//
//   X.weight   F8   and   X.scale_weight, X.weight_scale or X.weight_scale_inv: a float, or one for each row
//                         X.scale_input, or X.input_scale: for whoever computes with the weights as they are
//                         scaled_fp8: an empty tensor that says so
//
// Source: ComfyUI's checkpoints (scale_weight, scaled_fp8), compressed-tensors' (weight_scale).
#pragma once

#include "plan/draft.hpp"

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace headrace::plan {

/// Finds the scales in a draft's sources, by the names they have there.
class ScalesOfFp8 {
 public:
  explicit ScalesOfFp8(const Draft& draft);

  /// True for a scale, of weights or of what they are multiplied with, and for the mark.
  bool is_scale(TensorRef tensor) const { return scales_.contains(key(tensor)) || marks_.contains(key(tensor)); }
  bool is_mark(TensorRef tensor) const { return marks_.contains(key(tensor)); }
  /// The scale of a weight.
  std::optional<TensorRef> scale_of(TensorRef weight) const;
  /// The weight of a scale.
  std::optional<TensorRef> weight_of(TensorRef scale) const;

 private:
  static std::uint64_t key(TensorRef ref) noexcept { return (std::uint64_t{ref.source} << 32) | ref.tensor; }

  std::unordered_map<std::uint64_t, TensorRef> scale_of_, scales_;  // weight -> scale, scale -> weight
  std::unordered_set<std::uint64_t> marks_;
};

/// Weights that change their type are made of the numbers that they stand for, scale and all; then their scales leave
/// the output. Weights that stay keep theirs.
/// Throws Error(unsupported) for a scale of another shape, and for one that comes after its weights in a stream.
void fold_scales(Draft& draft, const ScalesOfFp8& scales);

}  // namespace headrace::plan
