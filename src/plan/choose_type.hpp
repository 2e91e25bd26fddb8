// Which type a tensor gets.
#pragma once

#include <headrace/plan.hpp>
#include <headrace/tensor.hpp>

#include <optional>

namespace headrace::plan {

/// What is wanted of one tensor.
struct Wish {
  std::optional<DType> type = {};  // nothing: keep
  bool by_rule = false;            // and not just by default: it overrides what defaults do
};

struct TypeChoice {
  DType to;
  Reason why;
};

/// True when the tensor's rows are whole blocks of the type, or its elements are for types that pack across rows.
bool fits(const TensorInfo& tensor, DType type) noexcept;

/// The type of `tensor`, which has its name in the output.
/// Without a rule, vectors, not worth quantising, become F32. Rows that are no whole number of blocks fall back to the
/// nearest type that fits, in llama-quantize's order: Q4_K → Q5_0, Q5_K → Q5_1, Q6_K → Q8_0, Q2_K, Q3_K and IQ →
/// IQ4_NL, else F16. What can't be retyped is kept.
TypeChoice choose_type(const TensorInfo& tensor, const Wish& wish) noexcept;

}  // namespace headrace::plan
