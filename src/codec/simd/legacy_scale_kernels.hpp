// Vector kernels of Q4_0 and Q5_0 with an importance matrix: then their scale is searched for. Same bytes as
// codec/scalar/legacy.hpp, on every target.
#pragma once

#include <cstddef>

#include "codec/kernel.hpp"

namespace headrace::codec::kernels {

void encode_q4_0_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);
void encode_q5_0_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
