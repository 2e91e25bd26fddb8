// TensorFetch: one tensor of a plan, when it is asked for.
#pragma once

#include "base/gate.hpp"
#include "plan/plan.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace::flow {

/// Thread-safe: any number of tensors at once.
class TensorFetch {
 public:
  /// For a plan made for memory, none of whose sources is forward-only. `threads`: most for one tensor.
  TensorFetch(const Plan::Impl& plan, base::Gate& gate, unsigned threads);

  /// Fills `out`, of exactly the tensor's bytes. Throws Error: io, format, value, budget, cancelled.
  void read(std::uint32_t tensor, std::span<std::byte> out) const;

  /// The same of the bytes from `offset` on, by the calling thread alone. Both ends are at whole blocks of what the
  /// tensor is and of what it is read from; else Error(invalid_argument).
  void read_part(std::uint32_t tensor, std::uint64_t offset, std::span<std::byte> out) const;

 private:
  const Plan::Impl& plan_;
  base::Gate& gate_;
  const unsigned threads_;
};

}  // namespace headrace::flow
