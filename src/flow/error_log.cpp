#include "flow/error_log.hpp"

#include <algorithm>
#include <utility>

namespace headrace::flow {

ErrorLog::ErrorLog(const Plan::Impl& plan) : plan_(plan) { done_.reserve(plan.tensors.size()); }

void ErrorLog::add(std::uint32_t tensor, const PieceErrors& errors, std::uint64_t elements) {
  const std::lock_guard lock(mutex_);
  auto& sums = under_way_[tensor];
  if (!sums) sums = std::make_unique<UnderWay>(UnderWay{{}, plan_.tensors[tensor].elements});
  sums->errors.add(errors);
  sums->left -= elements;
  if (sums->left > 0) return;
  const Difference total = sums->errors.total();
  under_way_.erase(tensor);
  done_.push_back(
      {std::string(plan_.tensors[tensor].name), tensor, total.relative_rmse(), total.largest, total.cosine()});
}

std::vector<TensorError> ErrorLog::take() {
  const std::lock_guard lock(mutex_);
  std::ranges::sort(done_, {}, &TensorError::tensor);
  return std::move(done_);
}

// Pieces go out in order, so a worker holds up one tensor at most.
std::uint64_t ErrorLog::memory(const Plan::Impl& plan, unsigned threads) noexcept {
  std::uint64_t names = 0;
  for (const TensorInfo& tensor : plan.tensors) names += tensor.name.size();
  return names + plan.tensors.size() * sizeof(TensorError) + (threads + 1) * (sizeof(UnderWay) + 64);
}

}  // namespace headrace::flow
