// The scalar reference of ggml's ternary types: 256 numbers, each −d, 0 or d, with one F16 scale `d`.
//
//   TQ1_0, 54 bytes (block_tq1_0): five trits in a byte, q in 0 … 2
//
//    0               32         48   52   54
//    +---------------+----------+----+----+      byte j of A: q[j]     q[32+j]  q[64+j]  q[96+j]  q[128+j]
//    | A             | B        | C  | d  |      byte j of B: q[160+j] q[176+j] q[192+j] q[208+j] q[224+j]
//    +---------------+----------+----+----+      byte j of C: q[240+j] q[244+j] q[248+j] q[252+j] 0
//
//   The first trit of a byte is the most significant. A byte isn't t = 81·q + 27·q' + … itself but t · 256/243, rounded
//   up: so the first trit is the integer part of byte · 3/256, and multiplying by 3 (dropping what leaves the byte)
//   brings the next one there.
//
//   TQ2_0, 66 bytes (block_tq2_0): two bits a number
//
//    0                64   66
//    +----------------+----+      byte 32k + j: q[128k+j] | q[128k+32+j] << 2 | q[128k+64+j] << 4 | q[128k+96+j] << 6
//    | 64 bytes       | d  |
//    +----------------+----+
//
//   Of both: x[i] = (q[i] − 1) · d.
//
// Source: ggml-quants.c, quantize_row_tq1_0_ref, quantize_row_tq2_0_ref and their dequantize_row counterparts.
//
// Bytes need no alignment; `n` is a multiple of 256. NaN and infinity give the bytes that ggml gives on x86-64.
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include <cstddef>

namespace headrace::codec::scalar {

void decode_tq1_0(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_tq2_0(const std::byte* src, float* dst, std::size_t n) noexcept;
void encode_tq1_0(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_tq2_0(const float* src, std::byte* dst, std::size_t n) noexcept;

}  // namespace headrace::codec::scalar
