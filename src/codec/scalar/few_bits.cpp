#include "codec/scalar/few_bits.hpp"

#include "codec/scalar/block_support.hpp"

#include <algorithm>
#include <cmath>

namespace headrace::codec::scalar {
namespace {

constexpr std::size_t kQ1_0Block = 128, kQ1_0Bytes = 18;
constexpr std::size_t kQ2_0Block = 64, kQ2_0Bytes = 18;

void encode_q1_0_block(const float* x, std::byte* dst) noexcept {
  float sum = 0;  // in order: the rounding of each step is part of the result
  for (std::size_t i = 0; i < kQ1_0Block; ++i) sum += std::fabs(x[i]);
  store_scale(sum / kQ1_0Block, dst);
  for (std::size_t j = 0; j < kQ1_0Block / 8; ++j) {
    unsigned byte = 0;
    for (std::size_t bit = 0; bit < 8; ++bit) {
      if (x[8 * j + bit] >= 0) byte |= 1U << bit;  // −0 counts as positive, NaN as negative
    }
    dst[2 + j] = static_cast<std::byte>(byte);
  }
}

/// 1 + x in units of the scale, within 0 … 3. NaN and what no int32 holds become 0.
unsigned q2_0_code(float x, float inverse) noexcept {
  const std::int32_t rounded = truncate(std::round(x * inverse));  // half away from zero
  return static_cast<unsigned>(std::clamp(rounded, -1, 2) + 1);
}

void encode_q2_0_block(const float* x, std::byte* dst) noexcept {
  const float d = std::fabs(largest({x, kQ2_0Block}));
  const float inverse = d > 0 ? 1 / d : 0;
  store_scale(d, dst);
  for (std::size_t j = 0; j < kQ2_0Block / 4; ++j) {
    unsigned byte = 0;
    for (std::size_t k = 0; k < 4; ++k) byte |= q2_0_code(x[4 * j + k], inverse) << (2 * k);
    dst[2 + j] = static_cast<std::byte>(byte);
  }
}

}  // namespace

void decode_q1_0(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kQ1_0Block, src += kQ1_0Bytes, dst += kQ1_0Block) {
    const float d = load_scale(src);
    for (std::size_t i = 0; i < kQ1_0Block; ++i) {
      const unsigned bit = std::to_integer<unsigned>(src[2 + i / 8]) >> (i % 8) & 1;
      dst[i] = bit != 0 ? d : -d;
    }
  }
}

void decode_q2_0(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kQ2_0Block, src += kQ2_0Bytes, dst += kQ2_0Block) {
    const float d = load_scale(src);
    for (std::size_t i = 0; i < kQ2_0Block; ++i) {
      const int code = std::to_integer<int>(src[2 + i / 4]) >> (2 * (i % 4)) & 3;
      dst[i] = static_cast<float>(code - 1) * d;
    }
  }
}

void encode_q1_0(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kQ1_0Block, src += kQ1_0Block, dst += kQ1_0Bytes) encode_q1_0_block(src, dst);
}

void encode_q2_0(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kQ2_0Block, src += kQ2_0Block, dst += kQ2_0Bytes) encode_q2_0_block(src, dst);
}

}  // namespace headrace::codec::scalar
