#include "plan/ladder.hpp"

#include "codec/codec.hpp"
#include "format/layout.hpp"
#include "plan/choose_type.hpp"

#include <algorithm>

namespace headrace::plan {
namespace {

// Compares bytes per element without dividing.
bool is_smaller(DType a, DType b) noexcept {
  const DTypeInfo &of_a = info(a), &of_b = info(b);
  return std::uint32_t{of_a.block_bytes} * of_b.block_elements < std::uint32_t{of_b.block_bytes} * of_a.block_elements;
}

}  // namespace

Ladder ladder_of(const TensorInfo& tensor, const Action& action, std::optional<Format> to) {
  const auto holds = [&](DType type) { return !to || format::holds(*to, type); };
  Ladder ladder{holds(tensor.dtype) ? tensor.dtype : DType::F16,
                action.types.empty() ? default_ladder(tensor.row_elements()) : action.types};
  std::erase_if(ladder.types, [&](DType type) {
    return !holds(type) || !codec::can_encode(type) || info(type).internal || !fits(tensor, type) ||
           !is_smaller(type, ladder.ceiling);
  });
  std::ranges::stable_sort(ladder.types, is_smaller);
  return ladder;
}

}  // namespace headrace::plan
