// The scalar reference of ggml's k-quants: 256 numbers in groups of 16 or 32; each group has a small integer scale, and
// in some types a small integer offset, and the block holds F16 factors for those: `d` and `dmin`.
//
// q[i] is the code of number i; half = i / 128, l = i % 32, part = i % 128 / 32, pair = i / 64.
//
//   Q2_K, 84 bytes (block_q2_K): 16 groups of 16
//
//    0                                   16                                            80   82     84
//    +-----------------------------------+---------------------------------------------+----+------+
//    | byte g: scale[g] | min[g] << 4    | byte 32·half + l: q[i] << 2·part, four each | d  | dmin |
//    +-----------------------------------+---------------------------------------------+----+------+
//    x[i] = (d · scale[g]) · q[i] − dmin · min[g], g = i / 16; scale, min in 0 … 15, q in 0 … 3
//
//   Q3_K, 110 bytes (block_q3_K): 16 groups of 16
//
//    0                               32                                     96                           108  110
//    +-------------------------------+--------------------------------------+----------------------------+----+
//    | byte l: q[i] >> 2 << i/32,    | byte 32·half + l:                    | 16 scales of 6 bits:       | d  |
//    | eight each                    | (q[i] & 3) << 2·part, four each      | see below                  |    |
//    +-------------------------------+--------------------------------------+----------------------------+----+
//    scales: byte g % 8 holds scale[g] & 15, at bit 4·(g / 8); byte 8 + g % 4 holds scale[g] >> 4, at bit 2·(g / 4)
//    x[i] = (d · (scale[g] − 32)) · (q[i] − 4), g = i / 16; scale in 0 … 63, q in 0 … 7
//
//   Q4_K, 144 bytes (block_q4_K): 8 groups of 32
//
//    0    2      4                    16                                              144
//    +----+------+--------------------+------------------------------------------------+
//    | d  | dmin | 8 scales, 8 mins   | byte 32·pair + l: q[i] << 4·(part % 2), two    |
//    |    |      | of 6 bits          | each                                           |
//    +----+------+--------------------+------------------------------------------------+
//    byte g: scale[g] | scale[g+4] >> 4 << 6;  byte 4 + g: min[g] | min[g+4] >> 4 << 6;
//    byte 8 + g: (scale[g+4] & 15) | (min[g+4] & 15) << 4;  g in 0 … 3
//    x[i] = (d · scale[g]) · q[i] − dmin · min[g], g = i / 32; scale, min in 0 … 63, q in 0 … 15
//
//   Q5_K, 176 bytes (block_q5_K): 8 groups of 32
//
//    0    2      4                    16                              48                                176
//    +----+------+--------------------+-------------------------------+----------------------------------+
//    | d  | dmin | as in Q4_K         | byte l: q[i] >> 4 << i/32,    | as in Q4_K, with q[i] & 15       |
//    |    |      |                    | eight each                    |                                  |
//    +----+------+--------------------+-------------------------------+----------------------------------+
//    x[i] as in Q4_K, q in 0 … 31
//
//   Q6_K, 210 bytes (block_q6_K): 16 groups of 16
//
//    0                                    128                              192                   208  210
//    +------------------------------------+--------------------------------+---------------------+----+
//    | byte 64·half + 32·(part % 2) + l:  | byte 32·half + l:              | scale[g], signed    | d  |
//    | (q[i] & 15) << 4·(part / 2)        | q[i] >> 4 << 2·part, four each | bytes               |    |
//    +------------------------------------+--------------------------------+---------------------+----+
//    x[i] = (d · scale[g]) · (q[i] − 32), g = i / 16; scale in −128 … 127, q in 0 … 63
//
// Source: ggml-quants.c, quantize_row_{q2_K,q3_K,q4_K,q5_K,q6_K}_ref, which quantize_q2_K … call when no imatrix is
// given, quantize_row_{q2_K,q3_K,q4_K,q5_K,q6_K}_impl, which they call with one, and their dequantize_row counterparts.
//
// Bytes need no alignment; `n` is a multiple of 256. NaN and infinity give the bytes that ggml gives on x86-64, but for
// codes where one sum meets two NaN of different payloads: which of them stays is up to the compiler, in ggml too.
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include "codec/kernel.hpp"

#include <cstddef>

namespace headrace::codec::scalar {

inline constexpr std::size_t kSuperBlock = 256;  ///< numbers in a block
inline constexpr std::size_t kQ2KBytes = 84;
inline constexpr std::size_t kQ3KBytes = 110;
inline constexpr std::size_t kQ4KBytes = 144;
inline constexpr std::size_t kQ5KBytes = 176;
inline constexpr std::size_t kQ6KBytes = 210;

void decode_q2_k(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q3_k(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q4_k(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q5_k(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q6_k(const std::byte* src, float* dst, std::size_t n) noexcept;

void encode_q2_k(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q3_k(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q4_k(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q5_k(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q6_k(const float* src, std::byte* dst, std::size_t n) noexcept;

void encode_q2_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;
void encode_q3_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;
void encode_q4_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;
void encode_q5_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;
void encode_q6_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;

}  // namespace headrace::codec::scalar
