// What a comparison of two checkpoints amounts to, and how it is shown.
#pragma once

#include "cli/output.hpp"

#include <headrace/verify.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace headrace::cli {

/// A comparison, counted up.
struct Verdict {
  std::optional<double> max_rmse;  ///< the limit, if one was given

  std::size_t identical = 0;       ///< tensors with the same type and bytes
  std::size_t equal = 0;           ///< other bytes, the same numbers
  std::size_t differing = 0;       ///< other numbers
  std::size_t not_comparable = 0;  ///< shape or type
  std::size_t only_in_first = 0;
  std::size_t only_in_second = 0;
  std::size_t not_finite = 0;  ///< NaN or infinity on one side only; these are among the differing
  std::size_t over_limit = 0;

  // Null when no tensor has other numbers.
  const TensorComparison* worst_error = nullptr;
  const TensorComparison* worst_rmse = nullptr;

  bool good() const noexcept {
    return not_comparable == 0 && only_in_first == 0 && only_in_second == 0 && over_limit == 0;
  }
};

/// The verdict points into the report. A figure that is NaN counts as the worst there is.
Verdict judge(const VerifyReport& report, std::optional<double> max_rmse);

/// A table of the tensors that differ, or of `all`, and the summary.
void print_verdict(Output& out, const VerifyReport& report, const Verdict& verdict, bool all);
/// The same as one JSON document. `files` are the two paths.
void print_verdict_json(Output& out, const std::pair<std::string_view, std::string_view>& files,
                        const VerifyReport& report, const Verdict& verdict, bool all);

}  // namespace headrace::cli
