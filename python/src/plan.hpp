// Plan as a Python object: a sequence of its tensors, also by name.
#pragma once

#include <headrace/plan.hpp>

#include <nanobind/nanobind.h>

#include <cstddef>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace headrace::python {

namespace nb = nanobind;

/// A Plan, and where its tensors are by name. Used with the GIL held.
class PlanObject {
 public:
  explicit PlanObject(Plan plan) : plan_(std::move(plan)) {}

  const Plan& plan() const noexcept { return plan_; }
  /// The index is made when first asked for.
  std::optional<std::size_t> find(std::string_view name) const;

 private:
  Plan plan_;
  mutable std::unordered_map<std::string_view, std::size_t> by_name_;
};

/// A planned tensor is a view into its plan; this keeps both.
struct PlannedTensorObject {
  Plan plan;
  PlannedTensor tensor;
};

struct DroppedTensorObject {
  Plan plan;
  DroppedTensor tensor;
};

/// "kept", "row_fallback", …: the reason's own name.
std::string_view word_of(Reason why) noexcept;
/// "none", "ones", "file".
std::string_view word_of(Importance importance) noexcept;

nb::tuple to_tuple(Shape shape);

}  // namespace headrace::python
