// Lays out an output: one file, or shards.
#pragma once

#include "format/writer.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/metadata.hpp>
#include <headrace/tensor.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

namespace headrace::plan {

/// What is to be laid out, but for the tensors.
struct OutputSpec {
  const std::filesystem::path& path;
  Format to;
  const Metadata& metadata;
  std::optional<std::uint64_t> shard_size = {};  ///< bytes of tensors in a file; more files are made then
  std::uint64_t memory = format::kUnlimited;     ///< bytes that headers may take, together with the `held` ones
  std::uint64_t held = 0;
  std::uint64_t reserve = 0;  ///< bytes to leave blank in the header of a single safetensors file
};

/// Sets the files and offsets of `tensors`. `data_order`: for safetensors, the indexes of all tensors in the order in
/// which their bytes shall lie, as far as they share a file; empty: as listed.
/// Throws what format::lay_out throws, and Error(invalid_argument) for more shards than can be numbered.
format::Outputs lay_out_outputs(const OutputSpec& spec, std::span<TensorInfo> tensors,
                                std::span<const std::uint32_t> data_order);

}  // namespace headrace::plan
