// Lays out safetensors files.
#pragma once

#include "format/allowance.hpp"
#include "format/layout.hpp"

namespace headrace::format::safetensors {

/// As headrace::format::lay_out; types and the uniqueness of names have been checked.
/// `reserve`: bytes of the header that stay blank, for tensors that come later (see GrowingHeader).
Layout lay_out(std::span<TensorInfo> tensors, std::span<const std::uint32_t> data_order, const Metadata& metadata,
               const std::string& file, const Allowance& allowance, std::uint64_t reserve = 0);

/// Throws for a tensor that safetensors can't hold, whatever its type.
void check(const TensorInfo& tensor, const std::string& file);

}  // namespace headrace::format::safetensors
