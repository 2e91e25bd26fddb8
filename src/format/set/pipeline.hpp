// A diffusers pipeline: a folder whose model_index.json lists components, each with a folder of its own.
//
//   {"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL"], "tokenizer": ["transformers",
//   "CLIPTokenizer"],
//    "safety_checker": [null, null], "force_zeros_for_empty_prompt": true}
//
// Source: diffusers, DiffusionPipeline.save_pretrained.
#pragma once

#include "format/json_document.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace headrace::format::set {

inline constexpr std::string_view kPipelineFile = "model_index.json";

/// A component that may have weights.
struct Component {
  std::string folder;
  std::string class_name;
  std::string prefix;         // of its tensors' names in one file: "vae."
  bool needs_weights = true;  // false for tokenizers, schedulers and the like
};

/// The components in the order of the file. Throws Error: format (a component's name is no folder's, or is there
/// twice), unsupported (too many), conflict (two would have one prefix).
std::vector<Component> read_pipeline(const JsonDocument& document);

}  // namespace headrace::format::set
