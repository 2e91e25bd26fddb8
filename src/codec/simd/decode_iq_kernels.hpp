// Vector decoders of ggml's IQ types. Same numbers as codec/scalar/iq.hpp and codec/scalar/iq4.hpp, on every target.
#pragma once

#include <cstddef>

namespace headrace::codec::kernels {

void decode_iq1_s(const std::byte* src, float* dst, std::size_t n);
void decode_iq1_m(const std::byte* src, float* dst, std::size_t n);
void decode_iq2_xxs(const std::byte* src, float* dst, std::size_t n);
void decode_iq2_xs(const std::byte* src, float* dst, std::size_t n);
void decode_iq2_s(const std::byte* src, float* dst, std::size_t n);
void decode_iq3_xxs(const std::byte* src, float* dst, std::size_t n);
void decode_iq3_s(const std::byte* src, float* dst, std::size_t n);
void decode_iq4_nl(const std::byte* src, float* dst, std::size_t n);
void decode_iq4_xs(const std::byte* src, float* dst, std::size_t n);

}  // namespace headrace::codec::kernels
