#include "plan/choose_type.hpp"

namespace headrace::plan {
namespace {

// The next type to try when rows don't hold whole blocks of `dtype`.
DType fallback_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::Q4_K: return DType::Q5_0;
    case DType::Q5_K: return DType::Q5_1;
    case DType::Q6_K: return DType::Q8_0;
    case DType::Q2_K:
    case DType::Q3_K:
    case DType::IQ1_S:
    case DType::IQ1_M:
    case DType::IQ2_XXS:
    case DType::IQ2_XS:
    case DType::IQ2_S:
    case DType::IQ3_XXS:
    case DType::IQ3_S:
    case DType::IQ4_XS: return DType::IQ4_NL;
    default: return DType::F16;
  }
}

}  // namespace

bool fits(const TensorInfo& tensor, DType type) noexcept {
  const std::uint64_t whole = is_block(type) ? tensor.row_elements() : tensor.elements;
  return whole % info(type).block_elements == 0;
}

TypeChoice choose_type(const TensorInfo& tensor, const Wish& wish) noexcept {
  const DType from = tensor.dtype;
  if (!wish.type) return {from, Reason::kept};
  const DType asked = *wish.type;
  const Reason granted = wish.by_rule ? Reason::rule : Reason::requested;
  if (from == asked) return {from, Reason::already};
  if (!is_float(from) && !is_block(from)) return {from, Reason::not_float};
  if (is_block(asked) && !wish.by_rule && tensor.shape.size() < 2) {
    return from == DType::F64 ? TypeChoice{from, Reason::kept_wide} : TypeChoice{DType::F32, Reason::one_dimensional};
  }
  DType to = asked;
  while (!fits(tensor, to)) to = fallback_of(to);
  return {to, to == asked ? granted : Reason::row_fallback};
}

}  // namespace headrace::plan
