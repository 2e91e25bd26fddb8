// What becomes of a checkpoint's metadata in its new file.
#pragma once

#include <headrace/plan.hpp>
#include <headrace/tensor.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace headrace::plan {

using KeySet = std::unordered_set<std::string_view>;

/// Pairs that get a note of their own when they are left out; tools write some tens.
inline constexpr std::size_t kMostNamed = 1000;

/// True for keys that say something of one file (its types, its layout, its part of a split), not of the model.
bool speaks_of_file(std::string_view key);

/// The metadata of a safetensors output made from GGUF: its strings. Other values have no place there; they are left
/// out, and named in `notes`.
Metadata metadata_for_safetensors(const Metadata& source, std::vector<std::string>& notes);

/// The metadata of a GGUF output.
struct GgufMetadata {
  std::span<const TensorInfo> tensors;      // of the output
  bool retyped = false;                     // some of them
  bool renamed = false;                     // recorded shapes go by the old names and are left out
  std::optional<std::string> architecture;  // asked for, or found
  std::optional<std::uint32_t> file_type;   // a recipe's; else that of the type most numbers have
  const KeySet& unusable;                   // keys that record the shape of no tensor and are left out

  /// From GGUF: unchanged, but for the type and the architecture where they change.
  Metadata from_gguf(const Metadata& source, std::vector<std::string>& notes) const;
  /// From text or from several files: the pairs behind what GGUF readers look for (general.architecture when known,
  /// general.file_type, general.quantization_version).
  Metadata from_pairs(const Metadata& source, std::vector<std::string>& notes) const;
};

/// llama.cpp's number for a file made mostly of one type ("general.file_type"): that of the type with most elements
/// in `tensors`; 1024 ("not specified") where it has none.
std::uint32_t file_type_of(std::span<const TensorInfo> tensors);

}  // namespace headrace::plan
