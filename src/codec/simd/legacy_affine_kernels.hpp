// Vector kernels of Q4_1 and Q5_1 with an importance matrix. Same bytes as codec/scalar/legacy.hpp, on every target.
#pragma once

#include <cstddef>

#include "codec/kernel.hpp"

namespace headrace::codec::kernels {

void encode_q4_1_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);
void encode_q5_1_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
