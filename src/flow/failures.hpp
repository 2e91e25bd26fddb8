// Failures: what went wrong on several threads, boiled down to one exception.
#pragma once

#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>

namespace headrace::flow {

/// Keeps the exception of the lowest piece, so that the same input gives the same error whatever the threads did.
/// Thread-safe.
class Failures {
 public:
  void record(std::uint64_t piece, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (piece < lowest_) {
      lowest_ = piece;
      error_ = std::move(error);
    }
  }

  void rethrow_if_any() const {
    const std::lock_guard lock(mutex_);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  mutable std::mutex mutex_;
  std::uint64_t lowest_ = std::numeric_limits<std::uint64_t>::max();
  std::exception_ptr error_;
};

}  // namespace headrace::flow
