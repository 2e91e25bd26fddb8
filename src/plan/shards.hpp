// Cuts an output into shards, and names them.
#pragma once

#include "format/layout.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/metadata.hpp>
#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace headrace::plan {

/// How many tensors go to each shard: in their order, a new one begun where the next tensor would take it past
/// `shard_bytes`. A tensor larger than that has a shard of its own. One shard for no tensors.
std::vector<std::size_t> cut_into_shards(std::span<const TensorInfo> tensors, std::uint64_t shard_bytes);

/// "model-00001-of-00003.safetensors" for shard 0 of 3 of "model.safetensors", as transformers and llama.cpp name them.
std::filesystem::path shard_path(const std::filesystem::path& output, Format to, std::size_t shard, std::size_t shards);

/// "model.safetensors.index.json" for "model.safetensors".
std::filesystem::path index_path(const std::filesystem::path& output);

/// The index of a sharded safetensors output: each tensor's file name, and the bytes of all.
std::string index_of(std::span<const TensorInfo> tensors, std::span<const std::filesystem::path> shards);

/// What a part of a split GGUF carries: the first all of `metadata`, the others only what they need, each its place in
/// the set as llama.cpp's gguf-split writes it.
Metadata metadata_of_part(const Metadata& metadata, std::size_t part, std::size_t parts, std::size_t tensors);

}  // namespace headrace::plan
