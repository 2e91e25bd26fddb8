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

TypeChoice choose_type(const TensorInfo& tensor, std::optional<DType> requested) noexcept {
  const DType from = tensor.dtype;
  if (!requested) return {from, Reason::kept};
  if (from == *requested) return {from, Reason::already};
  if (!is_float(from) && !is_block(from)) return {from, Reason::not_float};
  if (!is_block(*requested)) return {*requested, Reason::requested};
  if (tensor.shape.size() < 2) {
    return from == DType::F64 ? TypeChoice{from, Reason::kept_wide} : TypeChoice{DType::F32, Reason::one_dimensional};
  }
  DType to = *requested;
  while (tensor.row_elements() % info(to).block_elements != 0) to = fallback_of(to);
  return {to, to == *requested ? Reason::requested : Reason::row_fallback};
}

}  // namespace headrace::plan
