#include "codec/scalar/fp4.hpp"

#include "codec/scalar/block_support.hpp"
#include "codec/scalar/float_layout.hpp"

#include <bit>
#include <cmath>
#include <numbers>

namespace headrace::codec::scalar {
namespace {

constexpr std::size_t kMxBlock = 32, kMxBytes = 17;
constexpr std::size_t kNvBlock = 64, kNvBytes = 36;
constexpr std::size_t kNvGroup = 16, kNvGroups = kNvBlock / kNvGroup;

constexpr float kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
constexpr unsigned kNegative = 8;

/// The code whose value is nearest; of two the smaller magnitude. There is no −0, and NaN and infinity become 0.
/// (The reference tries all sixteen; those of the other sign are never nearer than 0.)
unsigned nearest_code(float x, float d) noexcept {
  const float magnitude = std::fabs(x);
  unsigned best = 0;
  float least = magnitude;
  for (unsigned code = 1; code < 8; ++code) {
    const float error = std::fabs(kValues[code] * d - magnitude);
    if (error < least) {
      least = error;
      best = code;
    }
  }
  return best != 0 && x < 0 ? best | kNegative : best;
}

/// `n` numbers as codes, the second half in the high nibbles.
void pack_codes(const float* x, float d, std::byte* dst, std::size_t n) noexcept {
  for (std::size_t j = 0; j < n / 2; ++j) {
    dst[j] = static_cast<std::byte>(nearest_code(x[j], d) | nearest_code(x[j + n / 2], d) << 4);
  }
}

void unpack_codes(const std::byte* src, float d, float* dst, std::size_t n) noexcept {
  for (std::size_t j = 0; j < n / 2; ++j) {
    const unsigned codes = std::to_integer<unsigned>(src[j]);
    dst[j] = kValues[codes & 15] * d;
    dst[j + n / 2] = kValues[codes >> 4] * d;
  }
}

/// 2^(e − 128); 255 is no NaN here.
float mx_scale(std::uint8_t e) noexcept {
  return std::bit_cast<float>(e < 2 ? 0x00200000U << e : (std::uint32_t{e} - 1) << 23);
}

/// The exponent of a block, so that its largest number comes between 4 and 8 units. Below 2^-125 it wraps round to a
/// huge scale, and all codes of the block become 0; infinity gives 0.
std::uint8_t mx_exponent(float most) noexcept {
  if (most == 0 || std::isinf(most)) return 0;
  return static_cast<std::uint8_t>((floor_log2(most) - 2 + 127) & 0xFF);
}

/// Half of an NVFP4 scale.
float nv_scale(std::uint8_t bits) noexcept {
  if (bits == 0x7F) return 0;
  return widen(bits & 0x7FU, Layout{3, 7}) * 0.5F;
}

}  // namespace

int floor_log2(float x) noexcept {
  int exponent = 0;
  const float mantissa = std::frexp(x, &exponent);  // in [0.5, 1)
  // x is 2^exponent · (1 − short_by · 2^-24), so its logarithm is `exponent` − short_by · 2^-24 / ln 2; the series'
  // next term never decides. That is rounded to `exponent` when the difference is under half of float32's spacing
  // there: 2^-24 times the power of two at or below the logarithm's magnitude, which is a little less than a positive
  // `exponent`, a little more than a negative one.
  const int short_by = static_cast<int>((1 - mantissa) * 0x1p24F);
  const unsigned size = static_cast<unsigned>(exponent > 0 ? exponent - 1 : -exponent);
  const bool rounds_up = short_by < static_cast<double>(std::bit_floor(size)) * std::numbers::ln2;
  return rounds_up ? exponent : exponent - 1;
}

std::uint8_t f32_to_ue4m3(float number) noexcept {
  if (!(number > 0)) return 0;
  if (number >= 248) return 0x7E;
  if (number < 0x1p-6F) {
    const std::int32_t eighths = truncate(number * 512 + 0.5F);
    return static_cast<std::uint8_t>(eighths < 7 ? eighths : 7);
  }
  // Add half of the last bit kept; a carry raises the exponent.
  const std::uint32_t rounded = (std::bit_cast<std::uint32_t>(number) + 0x80000) >> 20;
  return static_cast<std::uint8_t>(rounded - ((127U - 7) << 3));
}

void decode_mxfp4(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kMxBlock, src += kMxBytes, dst += kMxBlock) {
    unpack_codes(src + 1, mx_scale(std::to_integer<std::uint8_t>(src[0])), dst, kMxBlock);
  }
}

void encode_mxfp4(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kMxBlock, src += kMxBlock, dst += kMxBytes) {
    const std::uint8_t e = mx_exponent(std::fabs(largest({src, kMxBlock})));
    dst[0] = std::byte{e};
    pack_codes(src, mx_scale(e), dst + 1, kMxBlock);
  }
}

void decode_nvfp4(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kNvBlock, src += kNvBytes, dst += kNvBlock) {
    for (std::size_t g = 0; g < kNvGroups; ++g) {
      const float d = nv_scale(std::to_integer<std::uint8_t>(src[g]));
      unpack_codes(src + kNvGroups + g * kNvGroup / 2, d, dst + g * kNvGroup, kNvGroup);
    }
  }
}

void encode_nvfp4(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kNvBlock, src += kNvBlock, dst += kNvBytes) {
    for (std::size_t g = 0; g < kNvGroups; ++g) {
      const float* const x = src + g * kNvGroup;
      const std::uint8_t d = f32_to_ue4m3(std::fabs(largest({x, kNvGroup})) / 6);  // 6: the largest of E2M1
      dst[g] = std::byte{d};
      pack_codes(x, nv_scale(d), dst + kNvGroups + g * kNvGroup / 2, kNvGroup);
    }
  }
}

}  // namespace headrace::codec::scalar
