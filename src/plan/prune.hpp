// LayerPruning: a model without some of its layers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::plan {

/// Leaves out layers and numbers the others anew, from 0 and without a gap, as llama-quantize's --prune-layers does.
class LayerPruning {
 public:
  /// `layers`: those to leave out, in any order. `block_count`: how many the model has.
  /// Throws Error(invalid_argument) for a layer that the model hasn't, and when none would be left.
  LayerPruning(std::vector<std::uint32_t> layers, std::uint32_t block_count);

  /// The name that a tensor has in the output: its first "blk.N." gets the layer's new number. Nothing where the layer
  /// is left out.
  std::optional<std::string> renamed(std::string_view name) const;

  /// The reverse: the name that a tensor of the output had before.
  std::string name_before(std::string_view name) const;

  std::uint32_t kept_layers() const noexcept { return kept_; }

 private:
  std::vector<std::uint32_t> layers_;  // in order, each once
  std::uint32_t kept_;
};

}  // namespace headrace::plan
