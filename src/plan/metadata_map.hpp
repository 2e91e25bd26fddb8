// What becomes of a checkpoint's metadata in its new file.
#pragma once

#include <headrace/plan.hpp>
#include <headrace/tensor.hpp>

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace headrace::plan {

/// The metadata of a safetensors output made from GGUF: its strings. Other values have no place there; they are left
/// out, and named in `notes`.
Metadata metadata_for_safetensors(const Metadata& source, std::vector<std::string>& notes);

/// The metadata of a GGUF output. From GGUF: unchanged, but for the type and the architecture where they change.
/// From safetensors: its strings, behind what GGUF readers look for (general.architecture when known,
/// general.file_type, general.quantization_version).
Metadata metadata_for_gguf(const Metadata& source, Format from, std::span<const TensorInfo> tensors, bool retyped,
                           const std::optional<std::string>& architecture, std::vector<std::string>& notes);

/// llama.cpp's number for a file made mostly of one type ("general.file_type"): that of the type with most elements
/// in `tensors`; 1024 ("not specified") where it has none.
std::uint32_t file_type_of(std::span<const TensorInfo> tensors);

}  // namespace headrace::plan
