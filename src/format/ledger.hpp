// Ledger: which bytes of which tensor have been written.
#pragma once

#include <headrace/tensor.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace headrace::format {

/// Keeps a writer honest: every byte comes once, and none is missing at the end. Thread-safe.
class Ledger {
 public:
  /// The tensors must outlive the ledger.
  explicit Ledger(std::span<const TensorInfo> tensors);

  /// More tensors: those of before come first.
  void grow(std::span<const TensorInfo> tensors);

  /// Claims bytes [first, first + bytes) of a tensor. Throws Error(invalid_argument) when they run past its end or some
  /// of them were claimed before; `file` is for the error.
  void claim(std::size_t tensor, std::uint64_t first, std::uint64_t bytes, const std::string& file);

  /// Throws Error(invalid_argument) naming the tensors whose bytes did not all come.
  void require_complete(const std::string& file) const;

 private:
  using Ranges = std::map<std::uint64_t, std::uint64_t>;  // first -> end, apart from each other

  std::span<const TensorInfo> tensors_;
  mutable std::mutex mutex_;
  std::vector<std::uint64_t> done_;                    // bytes from the tensor's start that have come without a gap
  std::unordered_map<std::size_t, Ranges> scattered_;  // and those beyond a gap
};

}  // namespace headrace::format
