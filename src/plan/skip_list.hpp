// Which tensors a conversion leaves as they are, as other tools do it.
#pragma once

#include <headrace/plan.hpp>
#include <headrace/tensor.hpp>

namespace headrace::plan {

/// True when `list` leaves a tensor of that name and shape alone instead of making it `to`.
/// Source: the conversion rules of stable-diffusion.cpp 97d2990 (2026-08), seen in what it makes.
bool skips(SkipList list, const TensorInfo& tensor, DType to) noexcept;

}  // namespace headrace::plan
