// Header: everything a checkpoint says before its first tensor's bytes.
#pragma once

#include "format/tensor_table.hpp"
#include "io/byte_source.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/metadata.hpp>

#include <cstdint>

namespace headrace::format {

/// A header that was read and checked: every extent lies inside the file, every name is unique.
struct Header {
  Format format = Format::safetensors;
  std::uint32_t version = 0;      // 2 or 3 for GGUF
  std::uint64_t data_offset = 0;  // where the tensors' bytes begin
  std::uint64_t alignment = 1;    // of tensors in the file
  TensorTable tensors;
  Metadata metadata;

  std::size_t memory() const noexcept { return tensors.memory() + metadata.memory(); }
};

/// Recognises the format by the first bytes and reads the header. It never holds more than `memory` bytes.
/// Throws Error: format (not a known format, or its rules are broken), budget, io.
Header read_header(const io::ByteSource& source, std::uint64_t memory);

}  // namespace headrace::format
