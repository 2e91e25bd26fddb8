// The scalar reference of the rarer floats of at most 8 bits, one number at a time.
//
//   F8_E8M0      EEEEEEEE   2^(E − 127); 255 is NaN. No sign, no zero, no infinity: made for scales.
//   F8_E4M3FNUZ  SEEEEMMM   bias 8
//   F8_E5M2FNUZ  SEEEEEMM   bias 16; of both: no infinity, no −0; its code, 0x80, is the only NaN
//   F6_E2M3        SEEMMM   bias 1, to 7.5 …
//   F6_E3M2        SEEEMM   bias 3, to 28 …
//   F4               SEEM   bias 1, to 6; of these three: no infinity and no NaN, and what is too large becomes the
//   largest
//
// Sub-byte numbers are a little-endian stream of bits, the first number lowest:
//
//   F4, 2 numbers in a byte           F6, 4 numbers in 3 bytes
//
//    bit 7 … 4   3 … 0                 byte 0  | b b a a a a a a |
//       +-------+-------+              byte 1  | c c c c b b b b |
//       | x[1]  | x[0]  |              byte 2  | d d d d d d c c |   a = x[0] … d = x[3], high bits left
//       +-------+-------+
//
// safetensors names these types but leaves the order in a byte open. F4's is that of torch's float4_e2m1fn_x2; F6's is
// the same rule carried on.
//
// Sources: the OCP microscaling specification (F8_E8M0, F6, F4), arXiv 2206.02915 (FNUZ); where they leave a choice,
// the bytes are those of ml_dtypes.
//
// Thread-safety: pure functions. Results rely on rounding to nearest even with denormals kept (base/fpu.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace headrace::codec::scalar {

// One number. All narrowing rounds to nearest even, but for F8_E8M0.

float f8_e8m0_to_f32(std::uint8_t bits) noexcept;
/// To the nearest power of two, halfway (1.5 · 2^k) up. Between 2^-127 and 2^-126 always up, as torch and ml_dtypes do
/// it; what is positive and smaller becomes 2^-127. Zero, negative numbers, infinity and 1.5 · 2^127 or more become
/// NaN.
std::uint8_t f32_to_f8_e8m0(float number) noexcept;

float f8_e4m3fnuz_to_f32(std::uint8_t bits) noexcept;
/// From 248 on, and infinity: NaN. What rounds to −0 becomes 0.
std::uint8_t f32_to_f8_e4m3fnuz(float number) noexcept;

float f8_e5m2fnuz_to_f32(std::uint8_t bits) noexcept;
/// From 61440 on, and infinity: NaN. What rounds to −0 becomes 0.
std::uint8_t f32_to_f8_e5m2fnuz(float number) noexcept;

// Only the low bits of a code count. NaN becomes a zero of the other sign: −0 for the usual, positive NaN, as in
// ml_dtypes.

float f6_e2m3_to_f32(std::uint8_t code) noexcept;
std::uint8_t f32_to_f6_e2m3(float number) noexcept;
float f6_e3m2_to_f32(std::uint8_t code) noexcept;
std::uint8_t f32_to_f6_e3m2(float number) noexcept;
float f4_to_f32(std::uint8_t code) noexcept;
std::uint8_t f32_to_f4(float number) noexcept;

// Runs of numbers: `n` is a multiple of 4 for F6, of 2 for F4.

void decode_f8_e8m0(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f8_e4m3fnuz(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f8_e5m2fnuz(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f6_e2m3(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f6_e3m2(const std::byte* src, float* dst, std::size_t n) noexcept;
void decode_f4(const std::byte* src, float* dst, std::size_t n) noexcept;

void encode_f8_e8m0(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_f8_e4m3fnuz(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_f8_e5m2fnuz(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_f6_e2m3(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_f6_e3m2(const float* src, std::byte* dst, std::size_t n) noexcept;
void encode_f4(const float* src, std::byte* dst, std::size_t n) noexcept;

}  // namespace headrace::codec::scalar
