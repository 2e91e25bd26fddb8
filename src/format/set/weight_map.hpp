// WeightMap: what an index of shards says, which tensor is in which file.
//
//   {"metadata": {"total_size": 123}, "weight_map": {"blk.0.weight": "model-00001-of-00002.safetensors", …}}
//
// total_size is often wrong in published models and decides nothing, so it isn't looked at; neither are other fields.
// Source: huggingface_hub, serialization.
#pragma once

#include "format/allowance.hpp"
#include "format/json_document.hpp"
#include "format/name_index.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::format::set {

/// Names are views into the document, which must live as long.
class WeightMap {
 public:
  /// `memory` bytes may be held, the document included. Throws Error: format, budget, unsupported (too many files).
  WeightMap(const JsonDocument& document, std::uint64_t memory);

  struct Entry {
    std::string_view tensor;
    std::uint32_t file;  // of files()
  };
  const std::vector<Entry>& entries() const noexcept { return entries_; }
  const Entry* find(std::string_view tensor) const;
  /// In the order of their names, each once.
  const std::vector<std::string>& files() const noexcept { return files_; }
  const std::string& name() const noexcept { return name_; }
  /// Bytes held, without the document.
  std::uint64_t memory() const noexcept;

 private:
  void read(simdjson::dom::object map);
  std::uint32_t number_of(std::string_view file, std::string_view tensor);
  void sort_files();

  std::string name_;
  Allowance allowance_;
  std::vector<Entry> entries_;
  NameIndex tensors_;
  std::vector<std::string> files_;
  NameIndex file_names_;
  std::uint64_t file_bytes_ = 0;
};

}  // namespace headrace::format::set
