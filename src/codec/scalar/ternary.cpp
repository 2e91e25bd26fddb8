#include "codec/scalar/ternary.hpp"

#include "codec/scalar/block_support.hpp"

#include <cmath>

namespace headrace::codec::scalar {
namespace {

constexpr std::size_t kBlock = 256;
constexpr std::size_t kTQ1_0Bytes = 54, kTQ1_0Scale = 52;
constexpr std::size_t kTQ2_0Bytes = 66, kTQ2_0Scale = 64;

/// A run of TQ1_0's bytes: `bytes` of them hold `trits` numbers each, which are `bytes` apart.
struct TritRun {
  std::size_t first_byte, first_number, bytes, trits;
};
constexpr TritRun kTritRuns[] = {{0, 0, 32, 5}, {32, 160, 16, 5}, {48, 240, 4, 4}};

/// A block's scale, the largest magnitude, and its inverse.
struct Scale {
  float d, inverse;
};

Scale scale_of(const float* x) noexcept {
  float most = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const float magnitude = std::fabs(x[i]);
    most = most > magnitude ? most : magnitude;  // in this form NaN wins and the next number replaces it, as in ggml
  }
  return {most, most != 0 ? 1 / most : 0};
}

/// 1 + x in units of the scale. That is 0, 1 or 2, but for a block with NaN or a scale whose inverse overflows: there,
/// 64-bit rounding's low bits, as x86's instruction gives them; what no int64 holds, NaN included, gives 1.
std::uint32_t trit(float x, float inverse) noexcept {
  const float rounded = std::round(x * inverse);  // half away from zero
  const bool fits = rounded >= -0x1p63F && rounded < 0x1p63F;
  const auto whole = fits ? static_cast<std::uint64_t>(static_cast<std::int64_t>(rounded)) : 0;
  return static_cast<std::uint32_t>(whole & 0xFFFFFFFF) + 1;
}

void encode_tq1_0_block(const float* x, std::byte* dst) noexcept {
  const Scale scale = scale_of(x);
  for (const TritRun& run : kTritRuns) {
    for (std::size_t j = 0; j < run.bytes; ++j) {
      std::uint32_t number = 0;
      for (std::size_t k = 0; k < 5; ++k) {
        const std::size_t i = run.first_number + j + k * run.bytes;
        number = number * 3 + (k < run.trits ? trit(x[i], scale.inverse) : 0);
      }
      dst[run.first_byte + j] = static_cast<std::byte>(((number & 0xFF) * 256 + 242) / 243 & 0xFF);
    }
  }
  store_scale(scale.d, dst + kTQ1_0Scale);
}

void encode_tq2_0_block(const float* x, std::byte* dst) noexcept {
  const Scale scale = scale_of(x);
  for (std::size_t half = 0; half < 2; ++half, x += 128) {
    for (std::size_t j = 0; j < 32; ++j) {
      std::uint32_t byte = 0;
      for (std::size_t k = 0; k < 4; ++k) byte |= (trit(x[j + 32 * k], scale.inverse) & 3) << (2 * k);
      dst[32 * half + j] = static_cast<std::byte>(byte);
    }
  }
  store_scale(scale.d, dst + kTQ2_0Scale);
}

void decode_tq1_0_block(const std::byte* src, float* dst) noexcept {
  const float d = load_scale(src + kTQ1_0Scale);
  for (const TritRun& run : kTritRuns) {
    for (std::size_t j = 0; j < run.bytes; ++j) {
      std::uint32_t rest = std::to_integer<std::uint32_t>(src[run.first_byte + j]);
      for (std::size_t k = 0; k < run.trits; ++k) {
        const int q = static_cast<int>(rest * 3 >> 8);
        dst[run.first_number + j + k * run.bytes] = static_cast<float>(q - 1) * d;
        rest = rest * 3 & 0xFF;
      }
    }
  }
}

void decode_tq2_0_block(const std::byte* src, float* dst) noexcept {
  const float d = load_scale(src + kTQ2_0Scale);
  for (std::size_t half = 0; half < 2; ++half, dst += 128) {
    for (std::size_t j = 0; j < 32; ++j) {
      const int byte = std::to_integer<int>(src[32 * half + j]);
      for (std::size_t k = 0; k < 4; ++k) dst[j + 32 * k] = static_cast<float>((byte >> (2 * k) & 3) - 1) * d;
    }
  }
}

}  // namespace

void decode_tq1_0(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kBlock, src += kTQ1_0Bytes, dst += kBlock) decode_tq1_0_block(src, dst);
}

void decode_tq2_0(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kBlock, src += kTQ2_0Bytes, dst += kBlock) decode_tq2_0_block(src, dst);
}

void encode_tq1_0(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kBlock, src += kBlock, dst += kTQ1_0Bytes) encode_tq1_0_block(src, dst);
}

void encode_tq2_0(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kBlock, src += kBlock, dst += kTQ2_0Bytes) encode_tq2_0_block(src, dst);
}

}  // namespace headrace::codec::scalar
