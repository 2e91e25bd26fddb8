// LongRows: the mean squares of rows that no piece holds whole.
#pragma once

#include "base/gate.hpp"
#include "flow/material_reader.hpp"
#include "plan/plan.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

namespace headrace::flow {

/// Each is found once, by a pass over the row in its order, for the worker that needs it first; others wait for it.
/// Thread-safe. Whoever asks must hold no slab: the pass takes one itself.
class LongRows {
 public:
  LongRows(const Plan::Impl& plan, const MaterialReader& reader, base::Gate& gate)
      : plan_(plan), reader_(reader), gate_(gate) {}

  /// Row `row` of output tensor `tensor`. Throws Error: io, cancelled.
  float mean_square(std::uint32_t tensor, std::uint64_t row);

 private:
  float measure(std::uint32_t tensor, std::uint64_t row);

  const Plan::Impl& plan_;
  const MaterialReader& reader_;
  base::Gate& gate_;
  std::mutex mutex_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, float> known_;
};

}  // namespace headrace::flow
