// Which type a tensor gets.
#pragma once

#include <headrace/plan.hpp>
#include <headrace/tensor.hpp>

#include <optional>

namespace headrace::plan {

struct TypeChoice {
  DType to;
  Reason why;
};

/// The type of `tensor` in the output when `requested` was asked for (nothing: keep).
/// Vectors are not worth quantising and become F32. Rows that are no whole number of blocks fall back to the nearest
/// type that fits, in llama-quantize's order: Q4_K → Q5_0, Q5_K → Q5_1, Q6_K → Q8_0, Q2_K, Q3_K and IQ → IQ4_NL, else
/// F16.
TypeChoice choose_type(const TensorInfo& tensor, std::optional<DType> requested) noexcept;

}  // namespace headrace::plan
