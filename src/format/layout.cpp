#include "format/layout.hpp"

#include "format/allowance.hpp"
#include "format/gguf/header_writer.hpp"
#include "format/name_index.hpp"
#include "format/printable.hpp"
#include "format/safetensors/header_writer.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <string_view>

namespace headrace::format {
namespace {

std::string_view spelled(Format format) { return format == Format::gguf ? "GGUF" : "safetensors"; }

}  // namespace

void check_type(Format format, const TensorInfo& tensor, const std::string& file) {
  if (holds(format, tensor.dtype)) return;
  throw Error(ErrorCode::unsupported,
              fmt::format("{} can't hold tensors of type {}", spelled(format), name(tensor.dtype)),
              {.file = file, .tensor = printable(tensor.name), .hint = "ask for another type or another format"});
}

namespace {

// A file in which a name is there twice could be written but not read again.
void check_names(std::span<const TensorInfo> tensors, const std::string& file) {
  if (tensors.size() > NameIndex::kMaxEntries) {
    throw Error(ErrorCode::invalid_argument, "too many tensors", {.file = file});
  }
  NameIndex names;
  const auto name_of = [tensors](std::size_t i) { return tensors[i].name; };
  names.reserve(tensors.size(), name_of);
  for (const TensorInfo& tensor : tensors) {
    if (names.add(tensor.name, name_of)) continue;
    throw Error(ErrorCode::invalid_argument, "two tensors have this name",
                {.file = file, .tensor = printable(tensor.name)});
  }
}

void check_keys(const Metadata& metadata, const std::string& file) {
  NameIndex keys;
  const auto key_of = [&](std::size_t i) { return metadata.key(i); };
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    if (keys.add(metadata.key(i), key_of)) continue;
    throw Error(ErrorCode::invalid_argument,
                fmt::format("the metadata key '{}' is there twice", printable(metadata.key(i))), {.file = file});
  }
}

}  // namespace

bool holds(Format format, DType dtype) noexcept {
  const DTypeInfo& row = info(dtype);
  if (format == Format::gguf) return row.gguf_id >= 0;
  return format == Format::safetensors && !row.safetensors_name.empty();
}

Layout lay_out(Format format, std::span<TensorInfo> tensors, std::span<const std::uint32_t> data_order,
               const Metadata& metadata, const std::string& file, std::uint64_t memory, std::uint64_t held,
               std::uint64_t reserve) {
  const Allowance allowance(file, memory, held);
  if (format != Format::gguf && format != Format::safetensors) {
    throw Error(ErrorCode::unsupported, fmt::format("Headrace doesn't write {} files", name(format)),
                {.file = file, .hint = "choose safetensors or gguf"});
  }
  for (const TensorInfo& tensor : tensors) check_type(format, tensor, file);
  check_names(tensors, file);
  check_keys(metadata, file);
  if (format == Format::gguf) return gguf::lay_out(tensors, metadata, file, allowance);
  return safetensors::lay_out(tensors, data_order, metadata, file, allowance, reserve);
}

}  // namespace headrace::format
