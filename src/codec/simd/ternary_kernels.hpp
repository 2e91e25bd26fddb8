// Vector kernels of ggml's ternary types. Same bytes as codec/scalar/ternary.hpp, on every target.
#pragma once

#include <cstddef>

namespace headrace::codec::kernels {

void decode_tq1_0(const std::byte* src, float* dst, std::size_t n);
void decode_tq2_0(const std::byte* src, float* dst, std::size_t n);
void encode_tq1_0(const float* src, std::byte* dst, std::size_t n);
void encode_tq2_0(const float* src, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
