// Vector decoders of the k-quants. Same numbers as codec/scalar/k_quants.hpp, on every target.
#pragma once

#include <cstddef>

namespace headrace::codec::kernels {

void decode_q2_k(const std::byte* src, float* dst, std::size_t n);
void decode_q3_k(const std::byte* src, float* dst, std::size_t n);
void decode_q4_k(const std::byte* src, float* dst, std::size_t n);
void decode_q5_k(const std::byte* src, float* dst, std::size_t n);
void decode_q6_k(const std::byte* src, float* dst, std::size_t n);

}  // namespace headrace::codec::kernels
