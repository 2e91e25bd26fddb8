#include "flow/compare.hpp"

#include <headrace/verify.hpp>

#include <algorithm>

namespace headrace {

const char* to_string(Match match) noexcept {
  switch (match) {
    case Match::identical: return "identical";
    case Match::compared: return "compared";
    case Match::shape_differs: return "shape differs";
    case Match::type_differs: return "type differs";
    case Match::bytes_differ: return "bytes differ";
    case Match::only_in_first: return "only in first";
    case Match::only_in_second: return "only in second";
  }
  return "unknown";
}

bool VerifyReport::same(double max_rmse) const noexcept {
  return std::ranges::all_of(tensors, [&](const TensorComparison& tensor) {
    return tensor.match == Match::identical || (tensor.match == Match::compared && tensor.relative_rmse <= max_rmse);
  });
}

VerifyReport verify(const Checkpoint& first, const Checkpoint& second, const VerifyOptions& options,
                    const ProgressCallback& on_progress, const CancelToken& cancel) {
  return flow::compare(first.impl(), second.impl(), options, on_progress, cancel);
}

}  // namespace headrace
