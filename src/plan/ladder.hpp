// The ladder of an rmse: rule: types to try, the smallest first.
#pragma once

#include <headrace/checkpoint.hpp>
#include <headrace/rules.hpp>
#include <headrace/tensor.hpp>

#include <optional>
#include <vector>

namespace headrace::plan {

struct Ladder {
  DType ceiling;  // where none of `types` is good enough: what it is now, or F16 if the format can't hold that
  std::vector<DType> types;  // by size, the smallest first
};

/// Those of the action's types that can be made of the tensor, that the format holds, and that are smaller than the
/// ceiling. No format: memory, which holds all.
Ladder ladder_of(const TensorInfo& tensor, const Action& action, std::optional<Format> to);

}  // namespace headrace::plan
