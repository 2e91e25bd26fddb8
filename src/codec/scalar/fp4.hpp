// The scalar reference of ggml's 4-bit floats: a sign and a magnitude out of eight, e[0 … 7] = 0 1 2 3 4 6 8 12 (twice
// E2M1's, so that they are whole numbers), with a shared scale that is halved in turn.
//
//   MXFP4, 32 numbers in 17 bytes (block_mxfp4)
//
//    0   1                            17
//    +---+-----------------------------+
//    | e | byte j: q[j] | q[j+16] << 4 |      x[i] = ±e[q[i] & 7] · 2^(e − 128), sign q[i] & 8
//    +---+-----------------------------+
//
//   NVFP4, 64 numbers in 36 bytes (block_nvfp4): four groups of 16, each with a scale of its own
//
//    0                   4         12        20        28        36
//    +----+----+----+----+---------+---------+---------+---------+
//    | d0 | d1 | d2 | d3 | group 0 | group 1 | group 2 | group 3 |      x[i] = ±e[q[i] & 7] · d/2, sign q[i] & 8
//    +----+----+----+----+---------+---------+---------+---------+
//    byte j of a group: q[j] | q[j+8] << 4; d is S.EEEE.MMM as F8_E4M3, without a sign; 0x7F stands for 0
//
// Source: ggml-quants.c, quantize_row_mxfp4_ref, quantize_row_nvfp4_ref and their dequantize_row counterparts;
// ggml-impl.h, ggml_fp32_to_ue4m3 and ggml_ue4m3_to_fp32.
//
// Bytes need no alignment; `n` is a whole number of blocks. NaN and infinity give the bytes that ggml gives on x86-64.
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace headrace::codec::scalar {

void decode_mxfp4(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_nvfp4(const std::byte* src, float* dst, std::size_t n) noexcept;
void encode_mxfp4(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_nvfp4(const float* src, std::byte* dst, std::size_t n) noexcept;

/// floor(log2 x) where the logarithm is first rounded to float32: a number just below a power of two counts as that
/// power. `x` is positive and finite.
int floor_log2(float x) noexcept;

/// NVFP4's scale. Not quite F8_E4M3: halves are rounded up, denormals don't round up to the first normal, and all from
/// 248 on is 448. Zero, negative numbers and NaN become 0.
std::uint8_t f32_to_ue4m3(float number) noexcept;

}  // namespace headrace::codec::scalar
