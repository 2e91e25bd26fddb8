// Imatrix: an importance matrix made of one file or several.
#pragma once

#include "format/imatrix/imatrix_file.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::format::imatrix {

/// Several files count as one made from all their samples: sums and counts are added in the order of the files.
/// Move-only; const members are thread-safe.
class Imatrix {
 public:
  /// Throws Error: io, format, budget.
  static Imatrix open(std::span<const std::filesystem::path> paths, std::uint64_t memory);

  /// How many weights there are for a tensor, all of its matrices together; nothing when no file has it.
  /// Throws Error(format) when the files disagree.
  std::optional<std::uint64_t> size_of(std::string_view tensor) const;

  /// Weights above this are refused: their products with squares of numbers must stay far from infinity.
  static constexpr float kMostWeight = 1e20F;

  /// Fills `out` with the weights of a tensor from `first` on, all of them of one matrix: means, or 1 where no sample
  /// ever came. Throws Error: io, value.
  void read(std::string_view tensor, std::uint64_t first, std::span<float> out) const;

  const std::vector<ImatrixFile>& files() const noexcept { return files_; }
  std::size_t memory() const noexcept;

 private:
  std::vector<ImatrixFile> files_;
};

}  // namespace headrace::format::imatrix
