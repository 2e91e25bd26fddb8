// One file of an importance matrix: how much each column of a tensor mattered while a model ran on sample text.
//
//   GGUF (general.type = "imatrix"), for each tensor NAME of the model:
//     NAME.in_sum2   F32 [matrices, columns]   sums of squared activations
//     NAME.counts    F32 [matrices, 1]         how many were summed
//   legacy (.dat), all numbers little-endian:
//     i32 entries, then for each:  i32 length, name, i32 calls, i32 values, f32 [values]   means · calls
//     what follows (the calls in all, the data set's name) is not needed
//
// Source: llama.cpp, tools/imatrix and tools/quantize.
#pragma once

#include "format/tensor_table.hpp"
#include "io/file.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

namespace headrace::format::imatrix {

/// Only names and places are held; numbers are read when asked for. Move-only; const members are thread-safe.
class ImatrixFile {
 public:
  /// Recognises the kind by its content. Throws Error: io, format, budget.
  static ImatrixFile open(const std::filesystem::path& path, std::uint64_t memory);

  /// The tensors that it has sums of, each with its name in the model; `elements` of them are stored.
  std::span<const TensorInfo> entries() const noexcept { return entries_.tensors(); }
  std::optional<std::size_t> find(std::string_view tensor) const noexcept { return entries_.find(tensor); }

  /// Columns of an entry's matrices; 0 where the file doesn't say, as the legacy kind doesn't.
  std::uint64_t columns_of(std::size_t entry) const noexcept;

  /// Sums of an entry from `first` on. Throws Error: io, value (negative, NaN or infinity).
  void read_sums(std::size_t entry, std::uint64_t first, std::span<float> out) const;
  /// How many samples the sum at `value` is of; 0: none, and the sum says nothing. Throws Error: io, value.
  float count_at(std::size_t entry, std::uint64_t value) const;

  const io::File& file() const noexcept { return file_; }
  std::size_t memory() const noexcept { return entries_.memory() + counts_.capacity() * sizeof(Counts); }

 private:
  // Where the counts of an entry stand.
  struct Counts {
    std::uint64_t offset;
    std::uint32_t matrices;  // 0: one i32 for the whole entry, as the legacy kind has it
  };
  explicit ImatrixFile(io::File file) : file_(std::move(file)) {}
  void read_gguf(std::uint64_t memory);
  void read_legacy(std::uint64_t memory);
  void read_at(std::size_t entry, std::uint64_t offset, std::span<std::byte> out) const;
  void add(TensorInfo sums, Counts counts, std::uint64_t memory);

  io::File file_;
  TensorTable entries_;
  std::vector<Counts> counts_;  // beside entries_
};

}  // namespace headrace::format::imatrix
