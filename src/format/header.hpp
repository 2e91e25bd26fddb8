// Header: everything a checkpoint says before its first tensor's bytes.
#pragma once

#include "format/stored.hpp"
#include "format/tensor_table.hpp"
#include "io/byte_source.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/metadata.hpp>

#include <cstdint>
#include <unordered_map>

namespace headrace::format {

/// A header that was read and checked: every extent lies inside the file, every name is unique.
struct Header {
  Format format = Format::safetensors;
  std::uint32_t version = 0;      // 2 or 3 for GGUF
  std::uint64_t data_offset = 0;  // where the tensors' bytes begin
  std::uint64_t alignment = 1;    // of tensors in the file
  TensorTable tensors;
  Metadata metadata;
  std::unordered_map<std::uint32_t, Stored> stored;  // of tensors, by number, whose encoding says there is more

  std::size_t memory() const noexcept { return tensors.memory() + metadata.memory() + stored.size() * kStoredBytes; }
  /// For a tensor of this header that is strided or affine.
  const Stored& stored_as(const TensorInfo& tensor) const {
    return stored.at(static_cast<std::uint32_t>(&tensor - tensors.tensors().data()));
  }

  static constexpr std::size_t kStoredBytes = 160;  // an entry of `stored` with its strides, about
};

/// Reads the header of a safetensors or GGUF file; the first bytes tell which. It never holds more than `memory` bytes.
/// Throws Error: format (not a known format, or its rules are broken), budget, io.
Header read_header(const io::ByteSource& source, std::uint64_t memory);

}  // namespace headrace::format
