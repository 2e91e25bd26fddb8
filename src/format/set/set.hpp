// Sets: one checkpoint in many files.
#pragma once

#include "format/contents.hpp"
#include "format/json_document.hpp"

#include <cstdint>

namespace headrace::format::set {

/// True for an object with a weight_map.
bool is_index(const JsonDocument& document);
/// The shards that an index names: safetensors, GGUF or PyTorch. Each tensor must be where the index says, and nowhere
/// else. Throws Error: format, conflict, unsupported, budget, io (a shard is missing).
Contents open_index(const JsonDocument& document, const Opening& opening);

/// split.count of a GGUF file; 1 without.
std::uint64_t parts_of(const Header& header);
/// All parts of a split GGUF, from any one of them, which is open already. Its metadata is the first part's, without
/// what speaks of the parts. Throws Error as open_index does.
Contents open_split(Contents part, const Opening& opening);

/// A folder: a diffusers pipeline with all its components, each under its prefix, or one model's folder.
/// With a variant, a pipeline's components that lack it come without it; a model's folder must have it.
/// Throws Error: invalid_argument (several checkpoints and no rule to choose by, or none of that variant), and what
/// opening the chosen files throws.
Contents open_folder(const Opening& opening);

}  // namespace headrace::format::set
