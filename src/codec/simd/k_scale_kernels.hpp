// Vector kernels of Q6_K and Q3_K, whose groups have a scale and no offset. Same bytes as codec/scalar/k_quants.hpp, on
// every target.
#pragma once

#include <cstddef>

#include "codec/kernel.hpp"

namespace headrace::codec::kernels {

void encode_q3_k(const float* src, std::byte* dst, std::size_t n);
void encode_q6_k(const float* src, std::byte* dst, std::size_t n);
void encode_q3_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);
void encode_q6_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
