#include "codec/scalar/iq4.hpp"

#include "codec/scalar/block_support.hpp"
#include "codec/scalar/scale_search.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

namespace headrace::codec::scalar {
namespace {

constexpr std::size_t kGroup = 32;
constexpr std::size_t kGroups = kIq4XsBlock / kGroup;
constexpr std::array<float, 16> kValues{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// The code of the nearest value; halfway the upper one. NaN gets the last code.
std::uint8_t nearest_code(float number) noexcept {
  if (number <= kValues.front()) return 0;
  if (number >= kValues.back()) return 15;
  std::size_t below = 0, above = 15;
  while (above - below > 1) {
    const std::size_t middle = (below + above) / 2;
    (number < kValues[middle] ? above : below) = middle;
  }
  // In float32, as ggml: a tie is what the rounded differences say.
  return static_cast<std::uint8_t>(number - kValues[above - 1] < kValues[above] - number ? above - 1 : above);
}

/// The scale of least squares when each number takes the value nearest to number · inverse.
struct Trial {
  float xq = 0, qq = 0;  ///< weighted sums of x · value and of value²
};

Trial try_scale(std::span<const float> x, const float* weights, float inverse) noexcept {
  Trial trial;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float value = kValues[nearest_code(inverse * x[i])];
    trial.xq += weights[i] * value * x[i];
    trial.qq += weights[i] * value * value;
  }
  return trial;
}

/// The scale that fits a group best: of the plain one, which gives the largest number the value −127, and of 15 that
/// give it −134 to −120.
float fit_scale(std::span<const float> x, const float* weights) noexcept {
  const float most = largest(x);
  if (std::fabs(most) < kTiny) return 0;
  const float plain = -most / kValues[0];
  const Trial first = try_scale(x, weights, 1 / plain);
  float scale = first.qq > 0 ? first.xq / first.qq : 0;
  float best = scale * first.xq;
  for (int offset = -7; offset <= 7; ++offset) {
    const Trial trial = try_scale(x, weights, (static_cast<float>(offset) + kValues[0]) / most);
    if (trial.qq > 0 && trial.xq * trial.xq > best * trial.qq) {
      scale = trial.xq / trial.qq;
      best = scale * trial.xq;
    }
  }
  return scale;
}

/// Without anything known about the numbers' importance each weighs its square.
float fit_group(std::span<const float> x) noexcept {
  float weights[kGroup];
  for (std::size_t i = 0; i < kGroup; ++i) weights[i] = x[i] * x[i];
  return fit_scale(x, weights);
}

float fit_group(std::span<const float> x, const float* importance, float mean_square) noexcept {
  float weights[kGroup];
  weigh(x, importance, mean_square, weights);
  return fit_scale(x, weights);
}

/// Twice the mean of the squares of a block. The factor comes last, as in ggml: it matters where the sum overflows.
float double_mean_square(std::span<const float> block) noexcept {
  return sum_of_squares(block) * (2.0F / static_cast<float>(block.size()));
}

/// Stores the 16 bytes of a group's codes.
void store_codes(const float* x, float scale, std::byte* dst) noexcept {
  const float inverse = scale != 0 ? 1 / scale : 0;
  for (std::size_t j = 0; j < kGroup / 2; ++j) {
    const std::uint32_t low = nearest_code(inverse * x[j]), high = nearest_code(inverse * x[j + kGroup / 2]);
    dst[j] = static_cast<std::byte>(low | high << 4);
  }
}

void load_values(const std::byte* src, float scale, float* x) noexcept {
  for (std::size_t j = 0; j < kGroup / 2; ++j) {
    x[j] = scale * kValues[std::to_integer<std::size_t>(src[j] & std::byte{15})];
    x[j + kGroup / 2] = scale * kValues[std::to_integer<std::size_t>(src[j] >> 4)];
  }
}

// Where the scale of group g of IQ4_XS lies.
constexpr BitPlace low_bits(std::size_t g) noexcept { return {4 + g / 2, g % 2 * 4}; }
constexpr BitPlace high_bits(std::size_t g) noexcept { return {2 + g / 4, g % 4 * 2}; }

using Fits = std::array<float, kGroups>;

Fits fit_groups(const float* x) noexcept {
  Fits fits;
  for (std::size_t g = 0; g < kGroups; ++g) fits[g] = fit_group({x + g * kGroup, kGroup});
  return fits;
}

Fits fit_groups(const float* x, const float* importance) noexcept {
  const float mean_square = double_mean_square({x, kIq4XsBlock});
  Fits fits;
  for (std::size_t g = 0; g < kGroups; ++g) {
    fits[g] = fit_group({x + g * kGroup, kGroup}, importance + g * kGroup, mean_square);
  }
  return fits;
}

void store_iq4_nl_block(const float* x, float scale, std::byte* dst) noexcept {
  store_scale(scale, dst);
  store_codes(x, scale, dst + 2);  // by the exact scale, not the F16 that is stored
}

void store_iq4_xs_block(const float* x, const Fits& fits, std::byte* dst) noexcept {
  std::memset(dst, 0, kIq4XsBytes);
  const float d = -largest(fits) / 32;
  const float inverse = d != 0 ? 1 / d : 0;
  store_scale(d, dst);
  for (std::size_t g = 0; g < kGroups; ++g) {
    const std::int32_t scale = std::clamp(nearest(inverse * fits[g]), -32, 31);
    // The codes follow the exact d, not the F16 that is stored.
    store_codes(x + g * kGroup, d * static_cast<float>(scale), dst + 8 + g * kGroup / 2);
    const std::uint32_t biased = static_cast<std::uint32_t>(scale + 32);
    put_bits(dst, low_bits(g), biased & 15);
    put_bits(dst, high_bits(g), biased >> 4);
  }
}

void decode_iq4_xs_block(const std::byte* src, float* x) noexcept {
  const float d = load_scale(src);
  for (std::size_t g = 0; g < kGroups; ++g) {
    const std::uint32_t biased = get_bits(src, low_bits(g), 15) | get_bits(src, high_bits(g), 3) << 4;
    const float scale = d * static_cast<float>(static_cast<std::int32_t>(biased) - 32);
    load_values(src + 8 + g * kGroup / 2, scale, x + g * kGroup);
  }
}

}  // namespace

void decode_iq4_nl(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kIq4NlBlock, src += kIq4NlBytes, dst += kIq4NlBlock) load_values(src + 2, load_scale(src), dst);
}

void decode_iq4_xs(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kIq4XsBlock, src += kIq4XsBytes, dst += kIq4XsBlock) decode_iq4_xs_block(src, dst);
}

void encode_iq4_nl(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kIq4NlBlock, src += kIq4NlBlock, dst += kIq4NlBytes) {
    store_iq4_nl_block(src, fit_group({src, kIq4NlBlock}), dst);
  }
}

void encode_iq4_xs(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kIq4XsBlock, src += kIq4XsBlock, dst += kIq4XsBytes) {
    store_iq4_xs_block(src, fit_groups(src), dst);
  }
}

void encode_iq4_nl_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kIq4NlBlock, src += kIq4NlBlock, weights.of += kIq4NlBlock, dst += kIq4NlBytes) {
    const std::span block(src, kIq4NlBlock);
    store_iq4_nl_block(src, fit_group(block, weights.of, double_mean_square(block)), dst);
  }
}

void encode_iq4_xs_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kIq4XsBlock, src += kIq4XsBlock, weights.of += kIq4XsBlock, dst += kIq4XsBytes) {
    store_iq4_xs_block(src, fit_groups(src, weights.of), dst);
  }
}

}  // namespace headrace::codec::scalar
