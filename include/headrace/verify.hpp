// verify: are two checkpoints the same, and if not, how far apart are their numbers?
#pragma once

#include <headrace/cancel.hpp>
#include <headrace/checkpoint.hpp>
#include <headrace/progress.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace headrace {

enum class Match : std::uint8_t {
  identical,      ///< same type and bytes
  compared,       ///< both decoded; the errors are filled in
  shape_differs,  ///< not comparable
  type_differs,   ///< integers against floats, or one of the types can't be decoded by this build
  bytes_differ,   ///< same type, which this build can't decode
  only_in_first,
  only_in_second,
};

/// "identical", "compared", "shape differs", … Static storage.
const char* to_string(Match match) noexcept;

struct TensorComparison {
  std::string name;
  Match match = Match::identical;
  DType first = DType::F32, second = DType::F32;
  std::uint64_t elements = 0;
  double max_error = 0;      ///< largest |a − b|; infinity where only one side is NaN or infinite
  double relative_rmse = 0;  ///< √(Σ(a − b)² / Σa²), 0 when both sums are 0
};

struct VerifyOptions {
  std::uint64_t memory = kDefaultMemory;  ///< bytes
  unsigned threads = 0;                   ///< workers; 0: one per core
};

struct VerifyReport {
  bool files_identical = false;           ///< byte for byte, metadata and padding included
  bool metadata_identical = false;        ///< same pairs, in any order
  std::vector<TensorComparison> tensors;  ///< in the order of the first, then what only the second has

  /// True when every tensor is on both sides with one shape, and all that differ stay within `max_rmse`.
  bool same(double max_rmse) const noexcept;
};

/// Compares `second` with `first`, which is taken as the truth. The figures don't depend on threads or memory.
/// A tensor that GGUF holds with merged dimensions is compared by its original shape.
/// Throws Error: io, budget, cancelled.
VerifyReport verify(const Checkpoint& first, const Checkpoint& second, const VerifyOptions& options = {},
                    const ProgressCallback& on_progress = {}, const CancelToken& cancel = {});

}  // namespace headrace
