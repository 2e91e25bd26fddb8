// Transcode: one run of a tensor becomes another type, by the weights that the plan says.
#pragma once

#include "flow/piece_weights.hpp"
#include "plan/plan.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace headrace::flow {

/// A number that couldn't be converted.
struct Misfit {
  std::uint64_t element;  // in the tensor
  double value;
  bool by_weights;  // the number is fine, but what the weights make of its block isn't
};

/// Makes `to` of a run's numbers. `edges` and `scratch`: see PieceWeights. What is in `out` after a misfit isn't said.
std::optional<Misfit> transcode(const Plan::Impl& plan, const Run& run, DType to, EdgeRows edges,
                                std::span<std::byte> scratch, std::span<std::byte> out);

}  // namespace headrace::flow
