#include "plan/metadata_map.hpp"

#include "format/printable.hpp"
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
constexpr std::string_view kSplit = "split.";
constexpr std::uint32_t kQuantizationVersionNow = 2;
constexpr std::uint32_t kFileTypeNotSpecified = 1024;

// llama.cpp's enum llama_ftype, for the types it has a number for.
constexpr std::array<std::pair<DType, std::uint32_t>, 27> kFileTypes = {{
    {DType::F32, 0},    {DType::F16, 1},     {DType::Q4_0, 2},     {DType::Q4_1, 3},    {DType::Q8_0, 7},
    {DType::Q5_0, 8},   {DType::Q5_1, 9},    {DType::Q2_K, 10},    {DType::Q3_K, 12},   {DType::Q4_K, 15},
    {DType::Q5_K, 17},  {DType::Q6_K, 18},   {DType::IQ2_XXS, 19}, {DType::IQ2_XS, 20}, {DType::IQ3_XXS, 23},
    {DType::IQ1_S, 24}, {DType::IQ4_NL, 25}, {DType::IQ3_S, 26},   {DType::IQ2_S, 28},  {DType::IQ4_XS, 30},
    {DType::IQ1_M, 31}, {DType::BF16, 32},   {DType::TQ1_0, 36},   {DType::TQ2_0, 37},  {DType::MXFP4, 38},
    {DType::NVFP4, 39}, {DType::Q1_0, 40},
}};

bool any_block(std::span<const TensorInfo> tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const TensorInfo& tensor) { return is_block(tensor.dtype); });
}

template <class LeftOut>
Metadata without(const Metadata& source, LeftOut left_out) {
  Metadata out;
  out.reserve(source.size(), source.memory());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (!left_out(source.key(i))) out.append(source.key(i), source.value(i).type(), source.value(i).bytes());
  }
  return out;
}

// The architecture asked for takes the place of the source's, not silently.
void replace_architecture(const Metadata& source, const std::string& architecture, Metadata& out,
                          std::vector<std::string>& notes) {
  const auto old = source.find(kArchitecture);
  out.set_string(kArchitecture, architecture);
  if (old && !std::ranges::equal(old->bytes(), out.find(kArchitecture)->bytes()))
    notes.push_back(fmt::format("general.architecture {} is replaced by \"{}\"", old->to_string(), architecture));
}

}  // namespace

bool speaks_of_file(std::string_view key) {
  return key == kFileType || key == kQuantizationVersion || key == kAlignment || key.starts_with(kSplit) ||
         records_shapes(key);
}

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
    if (records_shapes(key)) continue;  // the tensor gets that shape back, or a note says why not
    if (source.value(i).type() == ValueType::string) {
      out.append(key, ValueType::string, source.value(i).bytes());
    } else if (++dropped <= kMostNamed) {
      notes.push_back(fmt::format("metadata '{}' ({}) is left out: safetensors holds text only", format::printable(key),
                                  source.value(i).to_string(3)));
    }
  }
  if (dropped > kMostNamed) {
    notes.push_back(fmt::format("{} more pairs of metadata that aren't text are left out", dropped - kMostNamed));
  }
  return out;
}

Metadata GgufMetadata::from_pairs(const Metadata& source, std::vector<std::string>& notes) const {
  Metadata out;
  if (architecture) {
    replace_architecture(source, *architecture, out, notes);
  } else if (const auto known = source.find(kArchitecture)) {
    out.set(kArchitecture, known->type(), known->bytes());
  }
  out.set_u32(kFileType, file_type.value_or(file_type_of(tensors)));
  out.set_u32(kQuantizationVersion, kQuantizationVersionNow);
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::string_view key = source.key(i);
    if (key == kArchitecture) continue;
    if (key.empty()) {
      notes.push_back(fmt::format("metadata {} is left out: GGUF has no empty keys", source.value(i).to_string()));
      continue;
    }
    if (speaks_of_file(key)) {
      notes.push_back(fmt::format("metadata '{}' is left out: GGUF readers expect another type than text there",
                                  format::printable(key)));
      continue;
    }
    out.append(key, source.value(i).type(), source.value(i).bytes());
  }
  return out;
}

Metadata GgufMetadata::from_gguf(const Metadata& source, std::vector<std::string>& notes) const {
  Metadata out = !renamed && unusable.empty() ? source : without(source, [&](std::string_view key) {
    return renamed ? records_shapes(key) : unusable.contains(key);
  });
  if (architecture) replace_architecture(source, *architecture, out, notes);
  if (retyped || file_type) {
    const std::uint32_t type = file_type.value_or(file_type_of(tensors));
    if (const auto old = source.find(kFileType); old && old->as_u64() != type)
      notes.push_back(fmt::format("general.file_type {} becomes {}", old->to_string(), type));
    out.set_u32(kFileType, type);
    if (any_block(tensors)) out.set_u32(kQuantizationVersion, kQuantizationVersionNow);
  }
  return out;
}

}  // namespace headrace::plan
