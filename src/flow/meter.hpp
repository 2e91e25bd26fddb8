// Meter: how far a plan has come.
#pragma once

#include "flow/pieces.hpp"
#include "plan/plan.hpp"

#include <headrace/progress.hpp>

#include <atomic>
#include <cstdint>

namespace headrace::flow {

/// Counts what is done, in bytes of the source, from any thread.
class Meter {
 public:
  explicit Meter(const Plan::Impl& plan) : plan_(plan) {}

  void add(const Piece& piece) {
    std::uint64_t bytes = 0;
    if (piece.tensors.size() > 1) {
      for (const std::uint32_t tensor : piece.tensors) bytes += plan_.bytes_in_inputs(tensor);
    } else {
      bytes = plan_.bytes_in_inputs(piece.tensors.front(), piece.elements);
    }
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
    if (piece.last) tensors_.fetch_add(piece.tensors.size(), std::memory_order_relaxed);
  }

  Progress read() const {
    Progress progress;
    progress.bytes_done = bytes_.load(std::memory_order_relaxed);
    progress.bytes_total = plan_.source_bytes;
    progress.tensors_done = tensors_.load(std::memory_order_relaxed);
    progress.tensors_total = plan_.tensors.size();
    return progress;
  }

 private:
  const Plan::Impl& plan_;
  std::atomic<std::uint64_t> bytes_{0}, tensors_{0};
};

}  // namespace headrace::flow
