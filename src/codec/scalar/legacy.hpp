// The scalar reference of ggml's first block types: 32 numbers share one scale.
//
// Source: ggml-quants.c, quantize_row_q8_0_ref, quantize_row_q4_0_ref and their dequantize_row counterparts.
//
// Bytes need no alignment; `n` is a multiple of 32. NaN and infinity give the bytes that ggml gives on x86-64.
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include <cstddef>

namespace headrace::codec::scalar {

inline constexpr std::size_t kLegacyBlock = 32;  ///< numbers in a block
inline constexpr std::size_t kQ8_0Bytes = 34;
inline constexpr std::size_t kQ4_0Bytes = 18;

void decode_q8_0(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_q4_0(const std::byte* src, float* dst, std::size_t n) noexcept;
void encode_q8_0(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_q4_0(const float* src, std::byte* dst, std::size_t n) noexcept;

/// The number with the largest magnitude; of several the first. NaN is passed over; 0 when there is no other.
float largest(const float* block) noexcept;

}  // namespace headrace::codec::scalar
