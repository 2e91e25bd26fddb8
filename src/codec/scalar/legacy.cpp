#include "codec/scalar/legacy.hpp"

#include "codec/scalar/block_support.hpp"
#include "codec/scalar/scale_search.hpp"

#include <cmath>
#include <limits>
#include <span>

namespace headrace::codec::scalar {
namespace {

constexpr std::size_t kHalf = kLegacyBlock / 2;

/// Truncates, keeps the low byte as a signed number, and takes that or `top`, whichever is less; as a byte.
std::uint8_t code_up_to(std::int32_t top, float number) noexcept {
  const auto low = static_cast<std::int8_t>(truncate(number) & 0xFF);
  return static_cast<std::uint8_t>(low < top ? low : top);
}

float inverse_of(float scale) noexcept { return scale != 0 ? 1 / scale : 0; }

/// The ends of the numbers; NaN is passed over.
struct Ends {
  float low = std::numeric_limits<float>::max();
  float high = -std::numeric_limits<float>::max();
};

Ends ends_of(const float* x) noexcept {
  Ends ends;
  for (std::size_t i = 0; i < kLegacyBlock; ++i) {
    if (x[i] < ends.low) ends.low = x[i];
    if (x[i] > ends.high) ends.high = x[i];
  }
  return ends;
}

/// A code may reach past its four bits when numbers are NaN or infinite, and then ends up in its neighbour's, as in
/// ggml.
void store_nibbles(const std::uint8_t* codes, std::byte* dst) noexcept {
  for (std::size_t j = 0; j < kHalf; ++j) dst[j] = static_cast<std::byte>((codes[j] | codes[j + kHalf] << 4U) & 0xFF);
}

/// The fifth bits in four bytes, then the other four bits of each code.
void store_five_bits(const std::uint8_t* codes, std::byte* dst) noexcept {
  std::uint32_t fifth = 0;
  for (std::size_t i = 0; i < kLegacyBlock; ++i) fifth |= (codes[i] >> 4 & 1U) << i;
  std::memcpy(dst, &fifth, sizeof fifth);
  for (std::size_t j = 0; j < kHalf; ++j) {
    dst[4 + j] = static_cast<std::byte>((codes[j] & 15) | (codes[j + kHalf] & 15) << 4);
  }
}

void load_nibbles(const std::byte* src, std::int32_t* codes) noexcept {
  for (std::size_t j = 0; j < kHalf; ++j) {
    codes[j] = std::to_integer<std::int32_t>(src[j] & std::byte{15});
    codes[j + kHalf] = std::to_integer<std::int32_t>(src[j] >> 4);
  }
}

void load_five_bits(const std::byte* src, std::int32_t* codes) noexcept {
  std::uint32_t fifth = 0;
  std::memcpy(&fifth, src, sizeof fifth);
  load_nibbles(src + 4, codes);
  for (std::size_t i = 0; i < kLegacyBlock; ++i) codes[i] |= static_cast<std::int32_t>((fifth >> i & 1) << 4);
}

void encode_q8_0_block(const float* x, std::byte* dst) noexcept {
  float most = 0;
  for (std::size_t i = 0; i < kLegacyBlock; ++i) {
    const float magnitude = std::fabs(x[i]);
    most = most > magnitude ? most : magnitude;  // in this form NaN wins and the next number replaces it, as in ggml
  }
  const float d = most / 127;
  const float inverse = inverse_of(d);
  store_scale(d, dst);
  for (std::size_t i = 0; i < kLegacyBlock; ++i) {
    const float rounded = std::round(x[i] * inverse);  // half away from zero
    dst[2 + i] = static_cast<std::byte>(truncate(rounded) & 0xFF);
  }
}

void encode_q4_0_block(const float* x, std::byte* dst) noexcept {
  const float d = largest(x) / -8;
  const float inverse = inverse_of(d);
  store_scale(d, dst);
  std::uint8_t codes[kLegacyBlock];
  for (std::size_t i = 0; i < kLegacyBlock; ++i) codes[i] = code_up_to(15, x[i] * inverse + 8.5F);
  store_nibbles(codes, dst + 2);
}

void encode_q5_0_block(const float* x, std::byte* dst) noexcept {
  const float d = largest(x) / -16;
  const float inverse = inverse_of(d);
  store_scale(d, dst);
  std::uint8_t codes[kLegacyBlock];
  for (std::size_t i = 0; i < kLegacyBlock; ++i) codes[i] = code_up_to(31, x[i] * inverse + 16.5F);
  store_five_bits(codes, dst + 2);
}

void encode_q4_1_block(const float* x, std::byte* dst) noexcept {
  const Ends ends = ends_of(x);
  const float d = (ends.high - ends.low) / 15;
  const float inverse = inverse_of(d);
  store_scale(d, dst);
  store_scale(ends.low, dst + 2);
  std::uint8_t codes[kLegacyBlock];
  for (std::size_t i = 0; i < kLegacyBlock; ++i) codes[i] = code_up_to(15, (x[i] - ends.low) * inverse + 0.5F);
  store_nibbles(codes, dst + 4);
}

void encode_q5_1_block(const float* x, std::byte* dst) noexcept {
  const Ends ends = ends_of(x);
  const float d = (ends.high - ends.low) / 31;
  const float inverse = inverse_of(d);
  store_scale(d, dst);
  store_scale(ends.low, dst + 2);
  std::uint8_t codes[kLegacyBlock];
  for (std::size_t i = 0; i < kLegacyBlock; ++i) {
    // No upper end here, unlike the others: a number is at most 31 steps above the lowest.
    codes[i] = static_cast<std::uint8_t>(truncate((x[i] - ends.low) * inverse + 0.5F) & 0xFF);
  }
  store_five_bits(codes, dst + 4);
}

constexpr AffineSearch kQ4_1Search{15, -0.9F, 0.05F, 36, false};
constexpr AffineSearch kQ5_1Search{31, -0.9F, 0.05F, 36, false};

/// Finds the codes of a block, 0 … 2·half − 1, and stores its scale.
void fit_scale(const float* x, Weights weights, std::int32_t half, std::byte* dst, std::uint8_t* codes) noexcept {
  const std::span block(x, kLegacyBlock);
  float weight[kLegacyBlock];
  weigh(block, weights.of, *weights.row_mean_squares, weight);
  store_scale(search_scale(block, weight, half, codes), dst);
}

/// Finds the codes of a block, and stores its scale and its offset.
void fit_line(const float* x, Weights weights, const AffineSearch& search, std::byte* dst,
              std::uint8_t* codes) noexcept {
  const std::span block(x, kLegacyBlock);
  float weight[kLegacyBlock];
  weigh(block, weights.of, *weights.row_mean_squares, weight);
  const AffineFit fit = search_scale_and_min(block, weight, search, codes);
  store_scale(fit.scale, dst);
  store_scale(-fit.min, dst + 2);
}

/// Gives `encode` each block with the weights that belong to it.
template <typename EncodeBlock>
void for_each_block(const float* src, Weights weights, std::size_t n, EncodeBlock encode) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kLegacyBlock) {
    encode(src, weights);
    weights.of += kLegacyBlock;
    ++weights.row_mean_squares;
  }
}

}  // namespace

float largest(const float* block) noexcept { return largest(std::span(block, kLegacyBlock)); }

void decode_q8_0(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kQ8_0Bytes, dst += kLegacyBlock) {
    const float d = load_scale(src);
    for (std::size_t i = 0; i < kLegacyBlock; ++i) {
      dst[i] = static_cast<float>(std::to_integer<std::int8_t>(src[2 + i])) * d;
    }
  }
}

void decode_q4_0(const std::byte* src, float* dst, std::size_t n) noexcept {
  std::int32_t codes[kLegacyBlock];
  for (; n != 0; n -= kLegacyBlock, src += kQ4_0Bytes, dst += kLegacyBlock) {
    const float d = load_scale(src);
    load_nibbles(src + 2, codes);
    for (std::size_t i = 0; i < kLegacyBlock; ++i) dst[i] = static_cast<float>(codes[i] - 8) * d;
  }
}

void decode_q4_1(const std::byte* src, float* dst, std::size_t n) noexcept {
  std::int32_t codes[kLegacyBlock];
  for (; n != 0; n -= kLegacyBlock, src += kQ4_1Bytes, dst += kLegacyBlock) {
    const float d = load_scale(src), m = load_scale(src + 2);
    load_nibbles(src + 4, codes);
    for (std::size_t i = 0; i < kLegacyBlock; ++i) dst[i] = static_cast<float>(codes[i]) * d + m;
  }
}

void decode_q5_0(const std::byte* src, float* dst, std::size_t n) noexcept {
  std::int32_t codes[kLegacyBlock];
  for (; n != 0; n -= kLegacyBlock, src += kQ5_0Bytes, dst += kLegacyBlock) {
    const float d = load_scale(src);
    load_five_bits(src + 2, codes);
    for (std::size_t i = 0; i < kLegacyBlock; ++i) dst[i] = static_cast<float>(codes[i] - 16) * d;
  }
}

void decode_q5_1(const std::byte* src, float* dst, std::size_t n) noexcept {
  std::int32_t codes[kLegacyBlock];
  for (; n != 0; n -= kLegacyBlock, src += kQ5_1Bytes, dst += kLegacyBlock) {
    const float d = load_scale(src), m = load_scale(src + 2);
    load_five_bits(src + 4, codes);
    for (std::size_t i = 0; i < kLegacyBlock; ++i) dst[i] = static_cast<float>(codes[i]) * d + m;
  }
}

void encode_q8_0(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kLegacyBlock, dst += kQ8_0Bytes) encode_q8_0_block(src, dst);
}

void encode_q4_0(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kLegacyBlock, dst += kQ4_0Bytes) encode_q4_0_block(src, dst);
}

void encode_q4_1(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kLegacyBlock, dst += kQ4_1Bytes) encode_q4_1_block(src, dst);
}

void encode_q5_0(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kLegacyBlock, dst += kQ5_0Bytes) encode_q5_0_block(src, dst);
}

void encode_q5_1(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kLegacyBlock, src += kLegacyBlock, dst += kQ5_1Bytes) encode_q5_1_block(src, dst);
}

void encode_q4_0_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for_each_block(src, weights, n, [&dst](const float* x, Weights at) {
    std::uint8_t codes[kLegacyBlock];
    fit_scale(x, at, 8, dst, codes);
    store_nibbles(codes, dst + 2);
    dst += kQ4_0Bytes;
  });
}

void encode_q4_1_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for_each_block(src, weights, n, [&dst](const float* x, Weights at) {
    std::uint8_t codes[kLegacyBlock];
    fit_line(x, at, kQ4_1Search, dst, codes);
    store_nibbles(codes, dst + 4);
    dst += kQ4_1Bytes;
  });
}

void encode_q5_0_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for_each_block(src, weights, n, [&dst](const float* x, Weights at) {
    std::uint8_t codes[kLegacyBlock];
    fit_scale(x, at, 16, dst, codes);
    store_five_bits(codes, dst + 2);
    dst += kQ5_0Bytes;
  });
}

void encode_q5_1_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for_each_block(src, weights, n, [&dst](const float* x, Weights at) {
    std::uint8_t codes[kLegacyBlock];
    fit_line(x, at, kQ5_1Search, dst, codes);
    store_five_bits(codes, dst + 4);
    dst += kQ5_1Bytes;
  });
}

}  // namespace headrace::codec::scalar
