#include "plan/metadata_map.hpp"

#include "plan/shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace headrace::plan {
namespace {

constexpr std::string_view kArchitecture = "general.architecture";
constexpr std::string_view kFileType = "general.file_type";
constexpr std::string_view kQuantizationVersion = "general.quantization_version";
constexpr std::string_view kAlignment = "general.alignment";
constexpr std::uint32_t kQuantizationVersionNow = 2;
constexpr std::uint32_t kFileTypeNotSpecified = 1024;
constexpr std::size_t kMostNamed = 1000;  // pairs with a note of their own; tools write some tens

// llama.cpp's enum llama_ftype, for the types it has a number for.
constexpr std::array<std::pair<DType, std::uint32_t>, 26> kFileTypes = {{
    {DType::F32, 0},    {DType::F16, 1},     {DType::Q4_0, 2},     {DType::Q4_1, 3},    {DType::Q8_0, 7},
    {DType::Q5_0, 8},   {DType::Q5_1, 9},    {DType::Q2_K, 10},    {DType::Q3_K, 12},   {DType::Q4_K, 15},
    {DType::Q5_K, 17},  {DType::Q6_K, 18},   {DType::IQ2_XXS, 19}, {DType::IQ2_XS, 20}, {DType::IQ3_XXS, 23},
    {DType::IQ1_S, 24}, {DType::IQ4_NL, 25}, {DType::IQ3_S, 26},   {DType::IQ2_S, 28},  {DType::IQ4_XS, 30},
    {DType::IQ1_M, 31}, {DType::BF16, 32},   {DType::TQ1_0, 36},   {DType::TQ2_0, 37},  {DType::MXFP4, 38},
    {DType::NVFP4, 39},
}};

bool any_block(std::span<const TensorInfo> tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const TensorInfo& tensor) { return is_block(tensor.dtype); });
}

// Keys whose value GGUF readers expect in another type than the text that safetensors can hold.
bool reserved_in_gguf(std::string_view key) {
  return key == kFileType || key == kQuantizationVersion || key == kAlignment || key == kScalars ||
         key.starts_with(kOriginalShape);
}

Metadata from_safetensors(const Metadata& source, std::span<const TensorInfo> tensors,
                          const std::optional<std::string>& architecture, std::vector<std::string>& notes) {
  Metadata out;
  if (architecture) {
    out.set_string(kArchitecture, *architecture);
  } else if (const auto known = source.find(kArchitecture)) {
    out.set_string(kArchitecture, *known->as_string());
  }
  out.set_u32(kFileType, file_type_of(tensors));
  out.set_u32(kQuantizationVersion, kQuantizationVersionNow);
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::string_view key = source.key(i);
    if (key == kArchitecture) continue;
    if (key.empty()) {
      notes.push_back(fmt::format("metadata {} is left out: GGUF has no empty keys", source.value(i).to_string()));
      continue;
    }
    if (reserved_in_gguf(key)) {
      notes.push_back(fmt::format("metadata '{}' is left out: GGUF readers expect another type than text there", key));
      continue;
    }
    out.append(key, source.value(i).type(), source.value(i).bytes());
  }
  return out;
}

}  // namespace

std::uint32_t file_type_of(std::span<const TensorInfo> tensors) {
  std::array<std::uint64_t, 256> elements{};
  for (const TensorInfo& tensor : tensors) elements[static_cast<std::size_t>(tensor.dtype)] += tensor.elements;
  const auto most = std::max_element(elements.begin(), elements.end());
  const auto dtype = static_cast<DType>(most - elements.begin());
  const auto* at =
      std::find_if(kFileTypes.begin(), kFileTypes.end(), [&](const auto& row) { return row.first == dtype; });
  return at == kFileTypes.end() || *most == 0 ? kFileTypeNotSpecified : at->second;
}

Metadata metadata_for_safetensors(const Metadata& source, std::vector<std::string>& notes) {
  Metadata out;
  out.reserve(source.size(), 0);
  std::size_t dropped = 0;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::string_view key = source.key(i);
    if (key == kScalars || key.starts_with(kOriginalShape))
      continue;  // the tensor gets that shape back, or a note says why not
    if (source.value(i).type() == ValueType::string) {
      out.append(key, ValueType::string, source.value(i).bytes());
    } else if (++dropped <= kMostNamed) {
      notes.push_back(fmt::format("metadata '{}' ({}) is left out: safetensors holds text only", key,
                                  source.value(i).to_string(3)));
    }
  }
  if (dropped > kMostNamed) {
    notes.push_back(fmt::format("{} more pairs of metadata that aren't text are left out", dropped - kMostNamed));
  }
  return out;
}

Metadata metadata_for_gguf(const Metadata& source, Format from, std::span<const TensorInfo> tensors, bool retyped,
                           const std::optional<std::string>& architecture, std::vector<std::string>& notes) {
  if (from == Format::safetensors) return from_safetensors(source, tensors, architecture, notes);
  Metadata out = source;
  if (architecture) {
    if (const auto old = source.find(kArchitecture)) {
      notes.push_back(fmt::format("general.architecture {} is replaced by \"{}\"", old->to_string(), *architecture));
    }
    out.set_string(kArchitecture, *architecture);
  }
  if (retyped) {
    if (const auto old = source.find(kFileType); old && old->as_u64() != file_type_of(tensors)) {
      notes.push_back(fmt::format("general.file_type {} becomes {}", old->to_string(), file_type_of(tensors)));
    }
    out.set_u32(kFileType, file_type_of(tensors));
    if (any_block(tensors)) out.set_u32(kQuantizationVersion, kQuantizationVersionNow);
  }
  return out;
}

}  // namespace headrace::plan
