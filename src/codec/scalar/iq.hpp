// The scalar reference of ggml's IQ types with a grid, for reading: their numbers are never made here.
//
// A block is 256 numbers under one F16 scale `d`, in eight groups of 32. Each group of 8 (IQ3: 4) numbers is one point
// of the type's grid (iq_grids.hpp): the bytes hold the number of the point, a sign for each coordinate and a small
// scale `s`. Fields are little-endian.
//
//   IQ2_XXS, 66 bytes          IQ2_XS, 74 bytes                  IQ2_S, 82 bytes
//
//    0    2          66         0    2            66      74      0    2       34      66     74      82
//    +----+-----------+         +----+-------------+-------+      +----+-------+-------+------+-------+
//    | d  | groups    |         | d  | u16 p[32]   | s[16] |      | d  | p[32] | sign  | high | s[16] |
//    +----+-----------+         +----+-------------+-------+      +----+-------+-------+------+-------+
//    group: p[4], u32 of        p: 9 bits the point,              sign: a byte for 8 numbers
//    4 × 7 bits sign, 4 bits s  7 bits sign                       high: a byte for 32, p's bits 8 and 9
//    x = d (s + ½) / 4 · point · sign; s[16] are 4 bits each, one for 16 numbers, the first low
//
//   IQ3_XXS, 98 bytes                      IQ3_S, 110 bytes
//
//    0    2              66      98         0    2         66     74      106    110
//    +----+---------------+-------+         +----+---------+------+--------+------+
//    | d  | p[64]         | u32[8]|         | d  | p[64]   | high | sign   | s[8] |
//    +----+---------------+-------+         +----+---------+------+--------+------+
//    u32: as in IQ2_XXS, for 32 numbers     high: a byte for 32, p's bit 8; sign: a byte for 8
//    x = d (s + ½) / 2 · point · sign       x = d (2s + 1) · point · sign; s: 4 bits, one for 32 numbers
//
//   IQ1_S, 50 bytes                        IQ1_M, 56 bytes
//
//    0    2             34      50          0             32         48         56
//    +----+--------------+-------+          +--------------+----------+----------+
//    | d  | p[32]        | u16[8]|          | p[32]        | high[16] | u16[4]   |
//    +----+--------------+-------+          +--------------+----------+----------+
//    u16, for 32 numbers: 4 × 3 bits        high: 4 bits for 8 numbers: p's bits 8 to 10, shift
//    p's bits 8 to 10, 3 bits s, shift      u16, for 64: 4 × 3 bits s, each for 16 numbers, 4 bits of d (first low)
//    x = d (2s + 1) · (point + 1/8), or − 1/8 when the shift bit is set; the point's coordinates are −1, 0, 1
//
// Of 7 bits of sign the eighth is such that an even number of the eight is negative. Bit j set: number j is negative.
//
// Source: ggml-quants.c, dequantize_row_iq2_xxs and its siblings.
//
// Bytes need no alignment; `n` is a multiple of 256. Any bytes are safe to read.
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include <cstddef>

namespace headrace::codec::scalar {

void decode_iq1_s(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_iq1_m(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_iq2_xxs(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_iq2_xs(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_iq2_s(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_iq3_xxs(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_iq3_s(const std::byte* src, float* dst, std::size_t n) noexcept;

}  // namespace headrace::codec::scalar
