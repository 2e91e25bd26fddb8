// The scalar reference of ggml's 4-bit types whose codes stand for unevenly spaced values.
//
//   value: −127 −104 −83 −65 −49 −35 −22 −10 1 13 25 38 53 69 89 113, for codes 0 … 15
//
//   IQ4_NL, 18 bytes (block_iq4_nl): 32 numbers share one F16 scale `d`
//
//    0    2                            18
//    +----+-----------------------------+
//    | d  | byte j: q[j] | q[j+16] << 4 |
//    +----+-----------------------------+
//    x[i] = d · value[q[i]]
//
//   IQ4_XS, 136 bytes (block_iq4_xs): 8 groups of 32, each with a scale of 6 bits, and an F16 factor `d` for all
//
//    0    2                   4                            8                                       136
//    +----+-------------------+----------------------------+-----------------------------------------+
//    | d  | u16 with          | byte g / 2: scale[g] & 15, | byte 16·g + j: q[32·g + j] |            |
//    |    | scale[g] >> 4     | at bit 4·(g % 2)           |                q[32·g + j + 16] << 4    |
//    |    | at bit 2·g        |                            |                                         |
//    +----+-------------------+----------------------------+-----------------------------------------+
//    x[i] = (d · (scale[g] − 32)) · value[q[i]], g = i / 32; scale in 0 … 63
//
// Source: ggml-quants.c, quantize_row_iq4_nl_impl as quantize_iq4_nl and quantize_iq4_xs call it, with and without
// an imatrix (and with 7 tries to either side), best_index_int8, dequantize_row_iq4_nl and dequantize_row_iq4_xs.
//
// Bytes need no alignment; `n` is a whole number of blocks. NaN and infinity give the bytes that ggml gives on x86-64.
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include "codec/kernel.hpp"

#include <cstddef>

namespace headrace::codec::scalar {

inline constexpr std::size_t kIq4NlBlock = 32;   ///< numbers in a block of IQ4_NL
inline constexpr std::size_t kIq4XsBlock = 256;  ///< numbers in a block of IQ4_XS
inline constexpr std::size_t kIq4NlBytes = 18;
inline constexpr std::size_t kIq4XsBytes = 136;

void decode_iq4_nl(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_iq4_xs(const std::byte* src, float* dst, std::size_t n) noexcept;
void encode_iq4_nl(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_iq4_xs(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_iq4_nl_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;
void encode_iq4_xs_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;

}  // namespace headrace::codec::scalar
