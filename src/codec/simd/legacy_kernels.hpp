// Vector kernels of Q8_0 and Q4_0. Same bytes as codec/scalar/legacy.hpp, on every target.
#pragma once

#include <cstddef>

namespace headrace::codec::kernels {

void decode_q8_0(const std::byte* src, float* dst, std::size_t n);
void decode_q4_0(const std::byte* src, float* dst, std::size_t n);
void encode_q8_0(const float* src, std::byte* dst, std::size_t n);
void encode_q4_0(const float* src, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
