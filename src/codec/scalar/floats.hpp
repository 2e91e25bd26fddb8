// The scalar reference of floats and integers, one number at a time.
//
// The functions of this folder say what the right bytes are; the vector kernels are tested against them on every
// target, and use them for tails and for the odd block that holds NaN or infinity.
//
// Sources: IEEE 754 (F16, F32, F64); bfloat16 as ggml's reference makes it; the OCP 8-bit floating point specification
// (F8_E4M3, F8_E5M2).
//
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace headrace::codec::scalar {

// One number. All narrowing rounds to nearest even. NaN keeps its sign.

/// NaN becomes a quiet NaN with the same payload.
float f16_to_f32(std::uint16_t half) noexcept;
/// NaN becomes sign | 0x7E00, as in ggml.
std::uint16_t f32_to_f16(float number) noexcept;
/// A plain shift: every bit is kept, signalling NaN too.
float bf16_to_f32(std::uint16_t brain) noexcept;
/// NaN keeps the upper half of its bits, made quiet, as in ggml.
std::uint16_t f32_to_bf16(float number) noexcept;
/// S.EEEE.MMM, bias 7, no infinity; 0x7F and 0xFF are NaN.
float f8_e4m3_to_f32(std::uint8_t bits) noexcept;
/// Above 464 (where 448 is no longer nearest) and infinity become NaN, as in torch and ml_dtypes.
std::uint8_t f32_to_f8_e4m3(float number) noexcept;
/// S.EEEEE.MM, bias 15: the upper half of an F16.
float f8_e5m2_to_f32(std::uint8_t bits) noexcept;
/// From 61440 on infinity; NaN becomes sign | 0x7F, as in torch.
std::uint8_t f32_to_f8_e5m2(float number) noexcept;
/// Rounds to odd: exact where float32 holds the number, else whichever neighbour has its last bit set; finite stays
/// finite. A second rounding to at most 22 bits then gives what a single one from float64 would.
float f64_to_f32_odd(double number) noexcept;

// Runs of numbers, little-endian, unaligned.

void decode_f64(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f64_odd(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f32(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f16(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_bf16(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f8_e4m3(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f8_e5m2(const std::byte* src, float* dst, std::size_t n) noexcept;

void encode_f64(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_f32(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_f16(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_bf16(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_f8_e4m3(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_f8_e5m2(const float* src, std::byte* dst, std::size_t n) noexcept;

// Integers, for comparing only: numbers of more than 24 bits are rounded to nearest even. BOOL is 0 or 1.

void decode_bool(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_u8(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_i8(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_u16(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_i16(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_u32(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_i32(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_u64(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_i64(const std::byte* src, float* dst, std::size_t n) noexcept;

}  // namespace headrace::codec::scalar
