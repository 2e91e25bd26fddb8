// Which of a folder's files hold the model: folders as transformers, diffusers and others leave them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::format::set {

/// The files to open: a checkpoint, the index of one, or a part of a split GGUF, which leads to the others; or, where
/// there are several, all shards of a set without an index, in order.
struct WeightsChoice {
  std::vector<std::string> files;
  std::string variant;  // that they are of; often none
};

/// What to choose.
struct Wish {
  std::string_view variant = {};    ///< "fp16" say; empty: files without a variant
  bool or_without_variant = false;  ///< where there are none of that variant
};

/// Chooses among `names`, whose order doesn't matter. safetensors comes before GGUF and PyTorch, an index before its
/// shards, and the names that the libraries use before others. Nothing when none of them is a checkpoint's.
/// `folder`: for errors. Throws Error: invalid_argument (several checkpoints, or only of another variant), format
/// (shards are missing).
std::optional<WeightsChoice> choose_weights(const std::string& folder, std::vector<std::string> names,
                                            const Wish& wish);

}  // namespace headrace::format::set
