// The scalar reference of ggml's first block types: 32 numbers share one F16 scale `d`.
//
//   Q8_0, 34 bytes (block_q8_0)         Q4_0, 18 bytes (block_q4_0)
//
//    0    2                    34        0    2                            18
//    +----+---------------------+        +----+-----------------------------+
//    | d  | q[0] q[1] … q[31]   |        | d  | byte j: q[j] | q[j+16] << 4 |
//    +----+---------------------+        +----+-----------------------------+
//    x[i] = q[i] · d, q signed           x[i] = (q[i] − 8) · d, q in 0 … 15
#include "codec/scalar/legacy.hpp"

#include "codec/scalar/block_support.hpp"

#include <cmath>

namespace headrace::codec::scalar {
namespace {

void encode_q8_0_block(const float* x, std::byte* dst) noexcept {
  float most = 0;
  for (std::size_t i = 0; i < kLegacyBlock; ++i) {
    const float magnitude = std::fabs(x[i]);
    most = most > magnitude ? most : magnitude;  // in this form NaN wins and the next number replaces it, as in ggml
  }
  const float d = most / 127;
  const float inverse = d != 0 ? 1 / d : 0;
  store_scale(d, dst);
  for (std::size_t i = 0; i < kLegacyBlock; ++i) {
    const float rounded = std::round(x[i] * inverse);  // half away from zero
    dst[2 + i] = static_cast<std::byte>(truncate(rounded) & 0xFF);
  }
}

/// min(15, the low byte as signed), as a byte.
std::uint32_t q4_0_code(float x, float inverse) noexcept {
  const auto low = static_cast<std::int8_t>(truncate(x * inverse + 8.5F) & 0xFF);
  return static_cast<std::uint8_t>(low < 15 ? low : 15);
}

void encode_q4_0_block(const float* x, std::byte* dst) noexcept {
  const float d = largest(x) / -8;
  const float inverse = d != 0 ? 1 / d : 0;
  store_scale(d, dst);
  for (std::size_t j = 0; j < kLegacyBlock / 2; ++j) {
    const std::uint32_t low = q4_0_code(x[j], inverse);
    const std::uint32_t high = q4_0_code(x[j + kLegacyBlock / 2], inverse);
    dst[2 + j] = static_cast<std::byte>((low | high << 4) & 0xFF);
  }
}

}  // namespace

float largest(const float* block) noexcept {
  float most = 0, value = 0;
  for (std::size_t i = 0; i < kLegacyBlock; ++i) {
    const float magnitude = std::fabs(block[i]);
    if (most < magnitude) {
      most = magnitude;
      value = block[i];
    }
  }
  return value;
}

void decode_q8_0(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kQ8_0Bytes, dst += kLegacyBlock) {
    const float d = load_scale(src);
    for (std::size_t i = 0; i < kLegacyBlock; ++i) {
      dst[i] = static_cast<float>(std::to_integer<std::int8_t>(src[2 + i])) * d;
    }
  }
}

void decode_q4_0(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kQ4_0Bytes, dst += kLegacyBlock) {
    const float d = load_scale(src);
    for (std::size_t j = 0; j < kLegacyBlock / 2; ++j) {
      const int codes = std::to_integer<int>(src[2 + j]);
      dst[j] = static_cast<float>((codes & 15) - 8) * d;
      dst[j + kLegacyBlock / 2] = static_cast<float>((codes >> 4) - 8) * d;
    }
  }
}

void encode_q8_0(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kLegacyBlock, dst += kQ8_0Bytes) encode_q8_0_block(src, dst);
}

void encode_q4_0(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kLegacyBlock, dst += kQ4_0Bytes) encode_q4_0_block(src, dst);
}

}  // namespace headrace::codec::scalar
