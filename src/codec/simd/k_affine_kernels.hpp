// Vector kernels of Q2_K, Q4_K and Q5_K, the k-quants with an offset. Same bytes as codec/scalar/k_quants.hpp, on every
// target.
#pragma once

#include <cstddef>

#include "codec/kernel.hpp"

namespace headrace::codec::kernels {

void encode_q2_k(const float* src, std::byte* dst, std::size_t n);
void encode_q4_k(const float* src, std::byte* dst, std::size_t n);
void encode_q5_k(const float* src, std::byte* dst, std::size_t n);

void encode_q2_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);
void encode_q4_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);
void encode_q5_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
