#include "plan/choose_type.hpp"

#include "plan/skip_list.hpp"

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

TypeChoice choose_type(const TensorInfo& tensor, const Wish& wish) noexcept {
  const DType from = tensor.dtype;
  if (!wish.type) return {from, Reason::kept};
  const DType asked = *wish.type;
  const Reason granted = wish.rule ? Reason::rule : Reason::requested;
  if (from == asked) return {from, Reason::already};
  if (!is_float(from) && !is_block(from)) return {from, Reason::not_float};
  if (!wish.rule && skips(wish.skip_list, tensor, asked)) return {from, Reason::skipped};
  if (!is_block(asked)) {  // F4 and F6 pack several numbers, whatever the rows are
    const bool whole = tensor.elements % info(asked).block_elements == 0;
    return whole ? TypeChoice{asked, granted} : TypeChoice{DType::F16, Reason::row_fallback};
  }
  if (!wish.rule && tensor.shape.size() < 2) {
    return from == DType::F64 ? TypeChoice{from, Reason::kept_wide} : TypeChoice{DType::F32, Reason::one_dimensional};
  }
  DType to = asked;
  while (tensor.row_elements() % info(to).block_elements != 0) to = fallback_of(to);
  return {to, to == asked ? granted : Reason::row_fallback};
}

}  // namespace headrace::plan
