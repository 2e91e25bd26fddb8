// LanguageModel: what recipes ask of a model beside its tensors.
#pragma once

#include <headrace/metadata.hpp>

#include <cstdint>
#include <string>

namespace headrace::plan {

struct LanguageModel {
  std::string architecture;  // general.architecture: "llama"
  std::uint32_t layers = 0;  // as the source has it, whatever is pruned; a projector ("mmproj") has none
  std::uint32_t experts = 0;
  std::uint32_t queries_per_key = 0;  // heads of queries that share one of keys, in the first layer; 0: no such heads
  bool is_70b = false;                // llama.cpp takes it for one of its models of 70 billion weights
};

/// What a GGUF's metadata says of it. Throws Error(invalid_argument) naming the key that is missing or odd where it
/// isn't that of a language model.
LanguageModel language_model(const Metadata& metadata);

}  // namespace headrace::plan
