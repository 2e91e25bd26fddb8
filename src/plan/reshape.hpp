// Shapes that the output's format can't list, and those that come back to one that can.
#pragma once

#include "plan/draft.hpp"
#include "plan/metadata_map.hpp"
#include "plan/shapes.hpp"

#include <cstddef>
#include <optional>
#include <vector>

namespace headrace::plan {

/// Bytes that the records of shapes will take in the draft's metadata, at most.
std::size_t memory_to_fit_shapes(const Draft& draft);

/// Fits the shapes of a draft's tensors to its format.
class ShapeFitter {
 public:
  /// Reads what the sources' metadata records of shapes. `draft` must outlive it.
  explicit ShapeFitter(Draft& draft);

  /// Keys that record the shape of no tensor; views into the sources.
  KeySet unusable() const;

  /// Merges, widens or restores shapes, and records in the draft's metadata, which is made by now, what a way back
  /// needs. Throws Error(unsupported) for a dimension that can't be recorded.
  void fit();

 private:
  std::optional<Shape> recorded(std::size_t i) const;
  void record(std::size_t i, Shape shape);
  void merge_ranks();
  void widen_scalars();
  void restore();

  Draft& draft_;
  std::vector<RecordedShapes> recorded_;  // of each source
};

}  // namespace headrace::plan
