// Which type a tensor gets.
#pragma once

#include <headrace/plan.hpp>
#include <headrace/tensor.hpp>

#include <cstddef>
#include <optional>

namespace headrace::plan {

/// What the caller wants of one tensor.
struct Wish {
  std::optional<DType> type = {};        // nothing: keep
  std::optional<std::size_t> rule = {};  // the one that the type comes from; it overrides every default
  SkipList skip_list = SkipList::none;
};

struct TypeChoice {
  DType to;
  Reason why;
};

/// The type of `tensor`, which has its name in the output.
/// Without a rule, what the skip list names is kept, and vectors, not worth quantising, become F32. Rows that are no
/// whole number of blocks fall back to the nearest type that fits, in llama-quantize's order: Q4_K → Q5_0, Q5_K → Q5_1,
/// Q6_K → Q8_0, Q2_K, Q3_K and IQ → IQ4_NL, else F16.
TypeChoice choose_type(const TensorInfo& tensor, const Wish& wish) noexcept;

}  // namespace headrace::plan
