#include "codec/scalar/iq.hpp"

#include "codec/scalar/block_support.hpp"
#include "codec/scalar/float_layout.hpp"
#include "codec/scalar/iq_grids.hpp"

#include <bit>

namespace headrace::codec::scalar {
namespace {

constexpr std::size_t kBlock = 256;
constexpr std::size_t kGroups = 8, kGroup = kBlock / kGroups;

unsigned byte_at(const std::byte* at) noexcept { return std::to_integer<unsigned>(*at); }

/// Signs in 7 bits: the eighth makes the number of negative ones even.
unsigned eight_signs(unsigned seven) noexcept { return seven | (static_cast<unsigned>(std::popcount(seven)) & 1) << 7; }

/// Minus `number` where bit j of `signs` is set: of NaN, too. (The reference multiplies by −1 and leaves that open.)
float with_sign_of(unsigned signs, unsigned j, float number) noexcept {
  return (signs >> j & 1) != 0 ? -number : number;
}

void put_iq2(unsigned point, unsigned signs, float d, float* dst) noexcept {
  for (unsigned j = 0; j < 8; ++j) dst[j] = with_sign_of(signs, j, d * kIQ2Levels[point >> (2 * j) & 3]);
}

/// Two points of four.
void put_iq3(unsigned first, unsigned second, const float* levels, unsigned signs, float d, float* dst) noexcept {
  for (unsigned j = 0; j < 4; ++j) {
    dst[j] = with_sign_of(signs, j, d * levels[first >> (3 * j) & 7]);
    dst[j + 4] = with_sign_of(signs, j + 4, d * levels[second >> (3 * j) & 7]);
  }
}

void put_iq1(unsigned point, bool down, float d, float* dst) noexcept {
  const float shift = down ? -0.125F : 0.125F;
  for (unsigned j = 0; j < 8; ++j) dst[j] = d * (kIQ1Levels[point >> (2 * j) & 3] + shift);
}

/// d (s + ½) · unit
float half_step(float d, unsigned s, float unit) noexcept { return d * (0.5F + static_cast<float>(s)) * unit; }
/// d (2s + 1)
float odd_step(float d, unsigned s) noexcept { return d * static_cast<float>(2 * s + 1); }

void decode_iq2_xxs_block(const std::byte* src, float* dst) noexcept {
  const float d = load_scale(src);
  const std::byte* group = src + 2;
  for (std::size_t g = 0; g < kGroups; ++g, group += 8, dst += kGroup) {
    const auto rest = load<std::uint32_t>(group + 4);
    const float step = half_step(d, rest >> 28, 0.25F);
    for (std::size_t k = 0; k < 4; ++k) {
      put_iq2(kIQ2XXSGrid[byte_at(group + k)], eight_signs(rest >> (7 * k) & 127), step, dst + 8 * k);
    }
  }
}

void decode_iq2_xs_block(const std::byte* src, float* dst) noexcept {
  const float d = load_scale(src);
  const std::byte* points = src + 2;
  const std::byte* const scales = src + 66;
  for (std::size_t g = 0; g < kGroups; ++g, points += 8, dst += kGroup) {
    for (std::size_t k = 0; k < 4; ++k) {
      const float step = half_step(d, byte_at(scales + g) >> (k < 2 ? 0 : 4) & 15, 0.25F);
      const unsigned point = load<std::uint16_t>(points + 2 * k);
      put_iq2(kIQ2XSGrid[point & 511], eight_signs(point >> 9), step, dst + 8 * k);
    }
  }
}

void decode_iq2_s_block(const std::byte* src, float* dst) noexcept {
  const float d = load_scale(src);
  const std::byte* points = src + 2;
  const std::byte* signs = src + 34;
  const std::byte* const high = src + 66;
  const std::byte* const scales = src + 74;
  for (std::size_t g = 0; g < kGroups; ++g, points += 4, signs += 4, dst += kGroup) {
    for (std::size_t k = 0; k < 4; ++k) {
      const float step = half_step(d, byte_at(scales + g) >> (k < 2 ? 0 : 4) & 15, 0.25F);
      const unsigned point = byte_at(points + k) | (byte_at(high + g) >> (2 * k) & 3) << 8;
      put_iq2(kIQ2SGrid[point], byte_at(signs + k), step, dst + 8 * k);
    }
  }
}

void decode_iq3_xxs_block(const std::byte* src, float* dst) noexcept {
  const float d = load_scale(src);
  const std::byte* points = src + 2;
  const std::byte* rests = src + 66;
  for (std::size_t g = 0; g < kGroups; ++g, points += 8, rests += 4, dst += kGroup) {
    const auto rest = load<std::uint32_t>(rests);
    const float step = half_step(d, rest >> 28, 0.5F);
    for (std::size_t k = 0; k < 4; ++k) {
      const unsigned first = kIQ3XXSGrid[byte_at(points + 2 * k)], second = kIQ3XXSGrid[byte_at(points + 2 * k + 1)];
      put_iq3(first, second, kIQ3XXSLevels, eight_signs(rest >> (7 * k) & 127), step, dst + 8 * k);
    }
  }
}

void decode_iq3_s_block(const std::byte* src, float* dst) noexcept {
  const float d = load_scale(src);
  const std::byte* points = src + 2;
  const std::byte* const high = src + 66;
  const std::byte* signs = src + 74;
  const std::byte* const scales = src + 106;
  const auto point = [&](std::size_t g, std::size_t k) {
    return unsigned{kIQ3SGrid[byte_at(points + k) | (byte_at(high + g) >> k & 1) << 8]};
  };
  for (std::size_t g = 0; g < kGroups; ++g, points += 8, signs += 4, dst += kGroup) {
    const float step = odd_step(d, byte_at(scales + g / 2) >> (4 * (g % 2)) & 15);
    for (std::size_t k = 0; k < 4; ++k) {
      put_iq3(point(g, 2 * k), point(g, 2 * k + 1), kIQ3SLevels, byte_at(signs + k), step, dst + 8 * k);
    }
  }
}

void decode_iq1_s_block(const std::byte* src, float* dst) noexcept {
  const float d = load_scale(src);
  const std::byte* points = src + 2;
  for (std::size_t g = 0; g < kGroups; ++g, points += 4, dst += kGroup) {
    const unsigned rest = load<std::uint16_t>(src + 34 + 2 * g);
    const float step = odd_step(d, rest >> 12 & 7);
    for (std::size_t k = 0; k < 4; ++k) {
      const unsigned point = byte_at(points + k) | (rest >> (3 * k) & 7) << 8;
      put_iq1(kIQ1Grid[point], rest >> 15 != 0, step, dst + 8 * k);
    }
  }
}

void decode_iq1_m_block(const std::byte* src, float* dst) noexcept {
  std::uint64_t scales = 0, half = 0;
  std::memcpy(&scales, src + 48, sizeof scales);
  for (unsigned i = 0; i < 4; ++i) half |= (scales >> (16 * i + 12) & 15) << (4 * i);
  const float d = f16_to_f32(static_cast<std::uint16_t>(half));
  for (std::size_t i = 0; i < kBlock / 8; ++i, dst += 8) {  // eight numbers at a time
    const unsigned rest = byte_at(src + 32 + i / 2) >> (4 * (i % 2)) & 15;
    const std::size_t pair = i / 2;  // sixteen numbers share a scale of 3 bits
    const auto s = static_cast<unsigned>(scales >> (16 * (pair / 4) + 3 * (pair % 4)) & 7);
    put_iq1(kIQ1Grid[byte_at(src + i) | (rest & 7) << 8], (rest & 8) != 0, odd_step(d, s), dst);
  }
}

template <std::size_t kBytes, typename DecodeBlock>
void each_block(const std::byte* src, float* dst, std::size_t n, DecodeBlock decode_block) noexcept {
  for (; n != 0; n -= kBlock, src += kBytes, dst += kBlock) decode_block(src, dst);
}

}  // namespace

void decode_iq1_s(const std::byte* src, float* dst, std::size_t n) noexcept {
  each_block<50>(src, dst, n, decode_iq1_s_block);
}
void decode_iq1_m(const std::byte* src, float* dst, std::size_t n) noexcept {
  each_block<56>(src, dst, n, decode_iq1_m_block);
}
void decode_iq2_xxs(const std::byte* src, float* dst, std::size_t n) noexcept {
  each_block<66>(src, dst, n, decode_iq2_xxs_block);
}
void decode_iq2_xs(const std::byte* src, float* dst, std::size_t n) noexcept {
  each_block<74>(src, dst, n, decode_iq2_xs_block);
}
void decode_iq2_s(const std::byte* src, float* dst, std::size_t n) noexcept {
  each_block<82>(src, dst, n, decode_iq2_s_block);
}
void decode_iq3_xxs(const std::byte* src, float* dst, std::size_t n) noexcept {
  each_block<98>(src, dst, n, decode_iq3_xxs_block);
}
void decode_iq3_s(const std::byte* src, float* dst, std::size_t n) noexcept {
  each_block<110>(src, dst, n, decode_iq3_s_block);
}

}  // namespace headrace::codec::scalar
