// The scalar reference of ggml's types of one and two bits a number: a block shares one F16 scale `d`.
//
//   Q1_0, 128 numbers in 18 bytes (block_q1_0)      Q2_0, 64 numbers in 18 bytes (block_q2_0)
//
//    0    2                              18          0    2                                  18
//    +----+------------------------------+           +----+----------------------------------+
//    | d  | byte j: q[8j] … q[8j+7] << 7 |           | d  | byte j: q[4j] … q[4j+3] << 6     |
//    +----+------------------------------+           +----+----------------------------------+
//    x[i] = q[i] ? d : −d                            x[i] = (q[i] − 1) · d, q in 0 … 3
//
// Source: ggml-quants.c, quantize_row_q1_0_ref, quantize_row_q2_0_ref and their dequantize_row counterparts.
//
// Bytes need no alignment; `n` is a whole number of blocks. NaN and infinity give the bytes that ggml gives on x86-64.
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include <cstddef>

namespace headrace::codec::scalar {

void decode_q1_0(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q2_0(const std::byte* src, float* dst, std::size_t n) noexcept;
void encode_q1_0(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q2_0(const float* src, std::byte* dst, std::size_t n) noexcept;

}  // namespace headrace::codec::scalar
