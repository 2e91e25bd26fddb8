// Vector kernels of the floating-point types. Same bytes as codec/scalar/floats.hpp, on every target.
//
// Each picks the best instruction set of the processor at run time.
#pragma once

#include <cstddef>

#include "codec/kernel.hpp"

namespace headrace::codec::kernels {

void decode_f64(const std::byte* src, float* dst, std::size_t n);
void decode_f64_odd(const std::byte* src, float* dst, std::size_t n);
void decode_f16(const std::byte* src, float* dst, std::size_t n);
void decode_bf16(const std::byte* src, float* dst, std::size_t n);
void decode_f8_e4m3(const std::byte* src, float* dst, std::size_t n);
void decode_f8_e5m2(const std::byte* src, float* dst, std::size_t n);
void decode_f8_e4m3fnuz(const std::byte* src, float* dst, std::size_t n);
void decode_f8_e5m2fnuz(const std::byte* src, float* dst, std::size_t n);

void encode_f64(const float* src, std::byte* dst, std::size_t n);
void encode_f16(const float* src, std::byte* dst, std::size_t n);
void encode_bf16(const float* src, std::byte* dst, std::size_t n);
void encode_f8_e4m3(const float* src, std::byte* dst, std::size_t n);
void encode_f8_e5m2(const float* src, std::byte* dst, std::size_t n);
void encode_f8_e4m3fnuz(const float* src, std::byte* dst, std::size_t n);
void encode_f8_e5m2fnuz(const float* src, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
