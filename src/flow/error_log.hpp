// ErrorLog: how far the tensors of an output are from what they were made of.
#pragma once

#include "flow/piece_errors.hpp"
#include "plan/plan.hpp"

#include <headrace/convert.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace headrace::flow {

/// Collects what pieces measure, a meter for each tensor under way. Thread-safe.
class ErrorLog {
 public:
  explicit ErrorLog(const Plan::Impl& plan);

  /// Some elements of a tensor that changes its type.
  void add(std::uint32_t tensor, const PieceErrors& errors, std::uint64_t elements);

  /// The tensors that changed their type, in the order of the plan.
  std::vector<TensorError> take();

  /// Bytes that a log of this plan holds at most with so many workers.
  static std::uint64_t memory(const Plan::Impl& plan, unsigned threads) noexcept;

 private:
  struct UnderWay {
    PieceErrors errors;
    std::uint64_t left;  // elements
  };

  const Plan::Impl& plan_;
  std::mutex mutex_;
  std::unordered_map<std::uint32_t, std::unique_ptr<UnderWay>> under_way_;
  std::vector<TensorError> done_;
};

}  // namespace headrace::flow
