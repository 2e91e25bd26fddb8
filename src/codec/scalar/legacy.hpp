// The scalar reference of ggml's first block types: 32 numbers share one F16 scale `d`, and in Q4_1 and Q5_1 one F16
// offset `m`. Codes are unsigned but for Q8_0's.
//
//   Q8_0, 34 bytes (block_q8_0)         Q4_0, 18 bytes (block_q4_0)
//
//    0    2                    34        0    2                            18
//    +----+---------------------+        +----+-----------------------------+
//    | d  | q[0] q[1] … q[31]   |        | d  | byte j: q[j] | q[j+16] << 4 |
//    +----+---------------------+        +----+-----------------------------+
//    x[i] = q[i] · d, q signed           x[i] = (q[i] − 8) · d, q in 0 … 15
//
//   Q4_1, 20 bytes (block_q4_1)
//
//    0    2    4                            20
//    +----+----+-----------------------------+
//    | d  | m  | byte j: q[j] | q[j+16] << 4 |
//    +----+----+-----------------------------+
//    x[i] = q[i] · d + m, q in 0 … 15
//
//   Q5_0, 22 bytes (block_q5_0)
//
//    0    2                      6                                          22
//    +----+----------------------+-------------------------------------------+
//    | d  | bit i: q[i] >> 4     | byte j: (q[j] & 15) | (q[j+16] & 15) << 4 |
//    +----+----------------------+-------------------------------------------+
//    x[i] = (q[i] − 16) · d, q in 0 … 31
//
//   Q5_1, 24 bytes (block_q5_1)
//
//    0    2    4                 8                                          24
//    +----+----+-----------------+-------------------------------------------+
//    | d  | m  | bit i: q[i] >> 4| byte j: (q[j] & 15) | (q[j+16] & 15) << 4 |
//    +----+----+-----------------+-------------------------------------------+
//    x[i] = q[i] · d + m, q in 0 … 31
//
// Source: ggml-quants.c, quantize_row_{q8_0,q4_0,q4_1,q5_0,q5_1}_ref and their dequantize_row counterparts, and with
// weights quantize_row_{q4_0,q4_1,q5_0,q5_1}_impl: these fit the scale, and need the mean square of the whole row.
//
// Bytes need no alignment; `n` is a multiple of 32. NaN and infinity give the bytes that ggml gives on x86-64, but for
// the sign of a NaN scale in a row with weights and NaN of both signs: which of these its mean square keeps is up to
// the compiler there.
//
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include "codec/kernel.hpp"

#include <cstddef>

namespace headrace::codec::scalar {

inline constexpr std::size_t kLegacyBlock = 32;  ///< numbers in a block
inline constexpr std::size_t kQ8_0Bytes = 34;
inline constexpr std::size_t kQ4_0Bytes = 18;
inline constexpr std::size_t kQ4_1Bytes = 20;
inline constexpr std::size_t kQ5_0Bytes = 22;
inline constexpr std::size_t kQ5_1Bytes = 24;

void decode_q8_0(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q4_0(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q4_1(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q5_0(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q5_1(const std::byte* src, float* dst, std::size_t n) noexcept;

void encode_q8_0(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q4_0(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q4_1(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q5_0(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q5_1(const float* src, std::byte* dst, std::size_t n) noexcept;

void encode_q4_0_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;
void encode_q4_1_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;
void encode_q5_0_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;
void encode_q5_1_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept;

/// The number of a block with the largest magnitude; of several the first. NaN is passed over; 0 when there is no
/// other.
float largest(const float* block) noexcept;

}  // namespace headrace::codec::scalar
