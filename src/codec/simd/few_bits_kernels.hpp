// Vector kernels of ggml's types of one and two bits a number. Same bytes as codec/scalar/few_bits.hpp, on every
// target.
#pragma once

#include <cstddef>

namespace headrace::codec::kernels {

void decode_q1_0(const std::byte* src, float* dst, std::size_t n);
void decode_q2_0(const std::byte* src, float* dst, std::size_t n);
void encode_q1_0(const float* src, std::byte* dst, std::size_t n);
void encode_q2_0(const float* src, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
