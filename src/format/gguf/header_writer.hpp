// Lays out GGUF files (version 3).
#pragma once

#include "format/allowance.hpp"
#include "format/layout.hpp"

namespace headrace::format::gguf {

/// As headrace::format::lay_out; types and the uniqueness of names have been checked.
Layout lay_out(std::span<TensorInfo> tensors, const Metadata& metadata, const std::string& file,
               const Allowance& allowance);

}  // namespace headrace::format::gguf
