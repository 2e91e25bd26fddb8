// Vector kernels of ggml's 4-bit floats. Same bytes as codec/scalar/fp4.hpp, on every target.
#pragma once

#include <cstddef>

namespace headrace::codec::kernels {

void decode_mxfp4(const std::byte* src, float* dst, std::size_t n);
void decode_nvfp4(const std::byte* src, float* dst, std::size_t n);
void encode_mxfp4(const float* src, std::byte* dst, std::size_t n);
void encode_nvfp4(const float* src, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
