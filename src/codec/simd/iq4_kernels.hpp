// Vector kernels of IQ4_NL and IQ4_XS. Same bytes as codec/scalar/iq4.hpp, on every target.
#pragma once

#include <cstddef>

#include "codec/kernel.hpp"

namespace headrace::codec::kernels {

void encode_iq4_nl(const float* src, std::byte* dst, std::size_t n);
void encode_iq4_xs(const float* src, std::byte* dst, std::size_t n);
void encode_iq4_nl_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);
void encode_iq4_xs_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n);

}  // namespace headrace::codec::kernels
