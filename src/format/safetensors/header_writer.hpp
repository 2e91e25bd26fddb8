// Lays out safetensors files.
#pragma once

#include "format/allowance.hpp"
#include "format/layout.hpp"

namespace headrace::format::safetensors {

/// As headrace::format::lay_out; types and the uniqueness of names have been checked.
Layout lay_out(std::span<TensorInfo> tensors, std::span<const std::uint32_t> data_order, const Metadata& metadata,
               const std::string& file, const Allowance& allowance);

}  // namespace headrace::format::safetensors
