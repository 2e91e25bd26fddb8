// Layout: where everything goes in a file about to be written.
#pragma once

#include <headrace/checkpoint.hpp>
#include <headrace/metadata.hpp>
#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace headrace::format {

/// The exact header of a new file and the places of its tensors.
struct Layout {
  std::vector<std::byte> header;  // from the file's first byte to the first tensor's, padding included
  std::uint64_t file_bytes = 0;
  std::uint64_t alignment = 1;  // a tensor's end is padded to a multiple of this

  std::size_t memory() const noexcept { return header.capacity(); }
};

inline constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

/// Lays out a file. `tensors` are in the order the header shall list them, with name, dtype, shape and bytes filled in;
/// their `offset` is set here, from the start of the file. `file` names the output in errors.
/// Throws Error(unsupported) naming the tensor that the format can't hold (type, rank, name), Error(invalid_argument)
/// for a size that overflows or a row that isn't whole blocks, Error(budget), before it is made, for a header that
/// doesn't fit `memory` bytes together with the `held` ones.
///
/// safetensors: data lies in the order of `data_order` (indexes into `tensors`; empty means as listed). Metadata must
/// be strings. gguf: data lies as listed, as ggml's reader demands; `general.alignment` in the metadata is obeyed.
/// `reserve`: bytes of a safetensors header to leave blank, for tensors that are declared later.
Layout lay_out(Format format, std::span<TensorInfo> tensors, std::span<const std::uint32_t> data_order,
               const Metadata& metadata, const std::string& file, std::uint64_t memory = kUnlimited,
               std::uint64_t held = 0, std::uint64_t reserve = 0);

/// Throws Error(unsupported) for a type that the format can't hold.
void check_type(Format format, const TensorInfo& tensor, const std::string& file);

/// True when the format can hold tensors of that type.
bool holds(Format format, DType dtype) noexcept;

}  // namespace headrace::format
