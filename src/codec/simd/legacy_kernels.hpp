// Vector kernels of ggml's first block types. Same bytes as codec/scalar/legacy.hpp, on every target.
#pragma once

#include <cstddef>

#include "codec/kernel.hpp"

namespace headrace::codec::kernels {

void decode_q8_0(const std::byte* src, float* dst, std::size_t n);
void decode_q4_0(const std::byte* src, float* dst, std::size_t n);
void decode_q4_1(const std::byte* src, float* dst, std::size_t n);
void decode_q5_0(const std::byte* src, float* dst, std::size_t n);
void decode_q5_1(const std::byte* src, float* dst, std::size_t n);

void encode_q8_0(const float* src, std::byte* dst, std::size_t n);
void encode_q4_0(const float* src, std::byte* dst, std::size_t n);
void encode_q4_1(const float* src, std::byte* dst, std::size_t n);
void encode_q5_0(const float* src, std::byte* dst, std::size_t n);
void encode_q5_1(const float* src, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
