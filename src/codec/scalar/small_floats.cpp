#include "codec/scalar/small_floats.hpp"

#include "codec/scalar/float_layout.hpp"

#include <algorithm>
#include <bit>

namespace headrace::codec::scalar {
namespace {

constexpr Layout kF8E4M3Fnuz{3, 8};
constexpr Layout kF8E5M2Fnuz{2, 16};
constexpr Layout kF6E2M3{3, 1};
constexpr Layout kF6E3M2{2, 3};
constexpr Layout kF4{1, 1};

constexpr std::uint32_t kFnuzNan = 0x80;

/// FNUZ: the code of −0 is NaN's.
float fnuz_to_f32(std::uint8_t bits, Layout from) noexcept {
  if (bits == kFnuzNan) return std::bit_cast<float>(0xFFC00000U);
  return with_sign(widen(bits & 0x7FU, from), (bits & 0x80U) != 0);
}

std::uint8_t f32_to_fnuz(float number, Layout to) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t magnitude = bits & kMagnitude;
  if (magnitude >= kInfinity) return kFnuzNan;
  const std::uint32_t code = narrow(magnitude, to);
  if (code > 0x7F) return kFnuzNan;
  return static_cast<std::uint8_t>(code == 0 ? 0 : code | (bits >> 24 & 0x80));
}

/// Fewer than 8 bits: a sign, then a magnitude whose every code is a number.
template <int kBits>
float packed_to_f32(std::uint8_t code, Layout from) noexcept {
  constexpr std::uint32_t kSign = 1U << (kBits - 1);
  return with_sign(widen(code & (kSign - 1), from), (code & kSign) != 0);
}

template <int kBits>
std::uint8_t f32_to_packed(float number, Layout to) noexcept {
  constexpr std::uint32_t kSign = 1U << (kBits - 1);
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t magnitude = bits & kMagnitude;
  const std::uint32_t sign = bits >> 31 != 0 ? kSign : 0;
  if (magnitude > kInfinity) return static_cast<std::uint8_t>(sign ^ kSign);
  const std::uint32_t code = magnitude == kInfinity ? kSign - 1 : std::min(narrow(magnitude, to), kSign - 1);
  return static_cast<std::uint8_t>(code | sign);
}

/// Sub-byte numbers, a group of whole bytes at a time.
template <int kBits, std::size_t kBytes, typename Convert>
void decode_packed(const std::byte* src, float* dst, std::size_t n, Convert convert) noexcept {
  constexpr std::size_t kNumbers = kBytes * 8 / kBits;
  for (; n != 0; n -= kNumbers, src += kBytes, dst += kNumbers) {
    std::uint32_t group = 0;
    std::memcpy(&group, src, kBytes);
    for (std::size_t i = 0; i < kNumbers; ++i, group >>= kBits) {
      dst[i] = convert(static_cast<std::uint8_t>(group & ((1U << kBits) - 1)));
    }
  }
}

template <int kBits, std::size_t kBytes, typename Convert>
void encode_packed(const float* src, std::byte* dst, std::size_t n, Convert convert) noexcept {
  constexpr std::size_t kNumbers = kBytes * 8 / kBits;
  for (; n != 0; n -= kNumbers, src += kNumbers, dst += kBytes) {
    std::uint32_t group = 0;
    for (std::size_t i = kNumbers; i-- != 0;) group = group << kBits | convert(src[i]);
    std::memcpy(dst, &group, kBytes);
  }
}

}  // namespace

float f8_e8m0_to_f32(std::uint8_t bits) noexcept {
  if (bits == 0xFF) return std::bit_cast<float>(0x7FC00000U);
  if (bits == 0) return std::bit_cast<float>(0x00400000U);  // 2^-127, a denormal of float32
  return std::bit_cast<float>(std::uint32_t{bits} << 23);
}

std::uint8_t f32_to_f8_e8m0(float number) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  if (bits == 0 || bits >= 0x7F400000) return 0xFF;  // from 1.5 · 2^127; NaN and all that has a sign is above
  const std::uint32_t exponent = bits >> 23, mantissa = bits & 0x7FFFFF;
  const bool up = exponent == 0 ? mantissa > 0x400000 : mantissa >= 0x400000;
  return static_cast<std::uint8_t>(exponent + (up ? 1 : 0));
}

float f8_e4m3fnuz_to_f32(std::uint8_t bits) noexcept { return fnuz_to_f32(bits, kF8E4M3Fnuz); }
std::uint8_t f32_to_f8_e4m3fnuz(float number) noexcept { return f32_to_fnuz(number, kF8E4M3Fnuz); }
float f8_e5m2fnuz_to_f32(std::uint8_t bits) noexcept { return fnuz_to_f32(bits, kF8E5M2Fnuz); }
std::uint8_t f32_to_f8_e5m2fnuz(float number) noexcept { return f32_to_fnuz(number, kF8E5M2Fnuz); }

float f6_e2m3_to_f32(std::uint8_t code) noexcept { return packed_to_f32<6>(code, kF6E2M3); }
std::uint8_t f32_to_f6_e2m3(float number) noexcept { return f32_to_packed<6>(number, kF6E2M3); }
float f6_e3m2_to_f32(std::uint8_t code) noexcept { return packed_to_f32<6>(code, kF6E3M2); }
std::uint8_t f32_to_f6_e3m2(float number) noexcept { return f32_to_packed<6>(number, kF6E3M2); }
float f4_to_f32(std::uint8_t code) noexcept { return packed_to_f32<4>(code, kF4); }
std::uint8_t f32_to_f4(float number) noexcept { return f32_to_packed<4>(number, kF4); }

void decode_f8_e8m0(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<std::uint8_t>(src, dst, n, f8_e8m0_to_f32);
}
void decode_f8_e4m3fnuz(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<std::uint8_t>(src, dst, n, f8_e4m3fnuz_to_f32);
}
void decode_f8_e5m2fnuz(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_each<std::uint8_t>(src, dst, n, f8_e5m2fnuz_to_f32);
}
void decode_f6_e2m3(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_packed<6, 3>(src, dst, n, f6_e2m3_to_f32);
}
void decode_f6_e3m2(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_packed<6, 3>(src, dst, n, f6_e3m2_to_f32);
}
void decode_f4(const std::byte* src, float* dst, std::size_t n) noexcept {
  decode_packed<4, 1>(src, dst, n, f4_to_f32);
}

void encode_f8_e8m0(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_each<std::uint8_t>(src, dst, n, f32_to_f8_e8m0);
}
void encode_f8_e4m3fnuz(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_each<std::uint8_t>(src, dst, n, f32_to_f8_e4m3fnuz);
}
void encode_f8_e5m2fnuz(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_each<std::uint8_t>(src, dst, n, f32_to_f8_e5m2fnuz);
}
void encode_f6_e2m3(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_packed<6, 3>(src, dst, n, f32_to_f6_e2m3);
}
void encode_f6_e3m2(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_packed<6, 3>(src, dst, n, f32_to_f6_e3m2);
}
void encode_f4(const float* src, std::byte* dst, std::size_t n) noexcept {
  encode_packed<4, 1>(src, dst, n, f32_to_f4);
}

}  // namespace headrace::codec::scalar
