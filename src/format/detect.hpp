// What a file is, by its first bytes.
#pragma once

#include "io/byte_source.hpp"

#include <cstdint>

namespace headrace::format {

enum class Kind : std::uint8_t {
  safetensors,
  gguf,
  zip,     ///< of PyTorch, or of NumPy
  pickle,  ///< of PyTorch before 1.6
  numpy,
  json,  ///< an index of shards, or a manifest of TensorFlow.js
};

/// Throws Error(format) that says what else it looks like, Error(io).
Kind detect(const io::ByteSource& source);

}  // namespace headrace::format
