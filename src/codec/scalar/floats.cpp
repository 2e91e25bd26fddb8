#include "codec/scalar/floats.hpp"

#include "codec/scalar/float_layout.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace headrace::codec::scalar {
namespace {

constexpr Layout kF16{10, 15};
constexpr Layout kF8E4M3{3, 7};
constexpr Layout kF8E5M2{2, 15};

template <typename T>
void decode_integers(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<T>(src, dst, n, [](T number) { return static_cast<float>(number); });
}

}  // namespace

float f16_to_f32(std::uint16_t half) noexcept {
  const std::uint32_t magnitude = half & 0x7FFFU;
  const bool negative = (half & 0x8000U) != 0;
  if (magnitude < 0x7C00) return with_sign(widen(magnitude, kF16), negative);
  const std::uint32_t payload = (magnitude & 0x3FF) << 13;
  const std::uint32_t quiet = payload != 0 ? 0x400000 : 0;
  return with_sign(std::bit_cast<float>(kInfinity | payload | quiet), negative);
}

std::uint16_t f32_to_f16(float number) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t magnitude = bits & kMagnitude;
  std::uint32_t half = 0x7C00;                                 // infinity, and what rounds to it
  if (magnitude > kInfinity) half = 0x7E00;                    // NaN
  if (magnitude < 0x477FF000) half = narrow(magnitude, kF16);  // below 65520
  return static_cast<std::uint16_t>(half | (bits >> 16 & 0x8000));
}

float bf16_to_f32(std::uint16_t brain) noexcept { return std::bit_cast<float>(std::uint32_t{brain} << 16); }

std::uint16_t f32_to_bf16(float number) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  const bool is_nan = (bits & kMagnitude) > kInfinity;
  return static_cast<std::uint16_t>(is_nan ? bits >> 16 | 0x40 : shift_to_nearest_even(bits, 16));
}

float f8_e4m3_to_f32(std::uint8_t bits) noexcept {
  const std::uint32_t magnitude = bits & 0x7FU;
  const float value = magnitude == 0x7F ? std::numeric_limits<float>::quiet_NaN() : widen(magnitude, kF8E4M3);
  return with_sign(value, (bits & 0x80U) != 0);
}

std::uint8_t f32_to_f8_e4m3(float number) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t magnitude = bits & kMagnitude;
  const std::uint32_t code = magnitude > 0x43E80000 ? 0x7F : narrow(magnitude, kF8E4M3);  // above 464: NaN
  return static_cast<std::uint8_t>(code | (bits >> 24 & 0x80));
}

float f8_e5m2_to_f32(std::uint8_t bits) noexcept { return f16_to_f32(static_cast<std::uint16_t>(bits << 8)); }

std::uint8_t f32_to_f8_e5m2(float number) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t magnitude = bits & kMagnitude;
  std::uint32_t code = 0x7C;                                      // infinity, and what rounds to it
  if (magnitude > kInfinity) code = 0x7F;                         // NaN
  if (magnitude < 0x47700000) code = narrow(magnitude, kF8E5M2);  // below 61440
  return static_cast<std::uint8_t>(code | (bits >> 24 & 0x80));
}

float f64_to_f32_odd(double number) noexcept {
  const float nearest = static_cast<float>(number);
  const double back = nearest;
  if (back == number || number != number) return nearest;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(nearest);
  if (std::fabs(back) > std::fabs(number)) --bits;  // towards zero: the magnitude is in the low bits
  return std::bit_cast<float>(bits | 1);
}

void decode_f64(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<double>(src, dst, n, [](double number) { return static_cast<float>(number); });
}
void decode_f64_odd(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<double>(src, dst, n, f64_to_f32_odd);
}
void decode_f32(const std::byte* src, float* dst, std::size_t n) noexcept {
  if (n != 0) std::memcpy(dst, src, n * sizeof(float));
}
void decode_f16(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<std::uint16_t>(src, dst, n, f16_to_f32);
}
void decode_bf16(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<std::uint16_t>(src, dst, n, bf16_to_f32);
}
void decode_f8_e4m3(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<std::uint8_t>(src, dst, n, f8_e4m3_to_f32);
}
void decode_f8_e5m2(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<std::uint8_t>(src, dst, n, f8_e5m2_to_f32);
}

void encode_f64(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_each<double>(src, dst, n, [](float number) { return static_cast<double>(number); });
}
void encode_f32(const float* src, std::byte* dst, std::size_t n) noexcept {
  if (n != 0) std::memcpy(dst, src, n * sizeof(float));
}
void encode_f16(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_each<std::uint16_t>(src, dst, n, f32_to_f16);
}
void encode_bf16(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_each<std::uint16_t>(src, dst, n, f32_to_bf16);
}
void encode_f8_e4m3(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_each<std::uint8_t>(src, dst, n, f32_to_f8_e4m3);
}
void encode_f8_e5m2(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_each<std::uint8_t>(src, dst, n, f32_to_f8_e5m2);
}

void decode_bool(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<std::uint8_t>(src, dst, n, [](std::uint8_t flag) { return flag != 0 ? 1.0F : 0.0F; });
}
void decode_u8(const std::byte* src, float* dst, std::size_t n) noexcept { decode_integers<std::uint8_t>(src, dst, n); }
void decode_i8(const std::byte* src, float* dst, std::size_t n) noexcept { decode_integers<std::int8_t>(src, dst, n); }
void decode_u16(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_integers<std::uint16_t>(src, dst, n);
}
void decode_i16(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_integers<std::int16_t>(src, dst, n);
}
void decode_u32(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_integers<std::uint32_t>(src, dst, n);
}
void decode_i32(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_integers<std::int32_t>(src, dst, n);
}
void decode_u64(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_integers<std::uint64_t>(src, dst, n);
}
void decode_i64(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_integers<std::int64_t>(src, dst, n);
}

}  // namespace headrace::codec::scalar
