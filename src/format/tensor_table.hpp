// TensorTable: the list of a checkpoint's tensors, with a lookup by name.
#pragma once

#include "base/arena.hpp"
#include "format/name_index.hpp"

#include <headrace/tensor.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace headrace::format {

/// Names and shapes live in one arena, records are small, and the index is one array: 100,000 tensors take about
/// 13 MiB. Views handed out stay valid as long as the table. Move-only. Not thread-safe while it is being filled.
class TensorTable {
 public:
  static constexpr std::size_t kMaxTensors = NameIndex::kMaxEntries;

  TensorTable();
  TensorTable(TensorTable&&) noexcept = default;
  TensorTable& operator=(TensorTable&&) noexcept = default;

  void reserve(std::size_t tensors);

  /// Adds a tensor; `tensor.name` and `tensor.shape` are copied into the table.
  /// False, and nothing is added, when the name is there already. Amortised constant time whatever the names are:
  /// the hash is seeded anew in each process. At most kMaxTensors.
  bool add(const TensorInfo& tensor);

  std::span<const TensorInfo> tensors() const noexcept { return tensors_; }
  /// For readers that learn an offset after the name.
  std::span<TensorInfo> mutable_tensors() noexcept { return tensors_; }
  std::optional<std::size_t> find(std::string_view name) const noexcept;

  /// Bytes of memory held.
  std::size_t memory() const noexcept;
  /// Bytes held at worst while such a tensor is being added: growing keeps the old list until the new one is filled.
  std::size_t memory_while_adding(std::size_t name_bytes, std::size_t rank) const noexcept;
  /// Bytes that `reserve(tensors)` takes in an empty table.
  static std::size_t memory_to_reserve(std::size_t tensors) noexcept;

 private:
  base::Arena arena_;
  std::vector<TensorInfo> tensors_;
  NameIndex index_;
};

}  // namespace headrace::format
