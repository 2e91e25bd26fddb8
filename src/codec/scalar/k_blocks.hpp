// What the k-quants have in common with and without an importance matrix: where the bits of a block lie, and the codes
// that follow once the integer scales and offsets are stored. For the layouts see k_quants.hpp.
//
// Thread-safety: pure functions.
#pragma once

#include "codec/scalar/block_support.hpp"
#include "codec/scalar/k_quants.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace::codec::scalar {

using Codes = std::array<std::uint8_t, kSuperBlock>;

// Where the bits of code i lie, from the start of the field they are in.

/// Two bits of Q2_K and Q3_K, and the upper two of Q6_K.
constexpr BitPlace pair_of_bits(std::size_t i) noexcept { return {i / 128 * 32 + i % 32, i % 128 / 32 * 2}; }
/// Four bits of Q4_K and Q5_K.
constexpr BitPlace nibble(std::size_t i) noexcept { return {i / 64 * 32 + i % 32, i / 32 % 2 * 4}; }
/// The lower four bits of Q6_K.
constexpr BitPlace wide_nibble(std::size_t i) noexcept { return {i / 128 * 64 + i % 64, i % 128 / 64 * 4}; }
/// The highest bit of Q3_K and Q5_K.
constexpr BitPlace high_bit(std::size_t i) noexcept { return {i % 32, i / 32}; }

inline std::span<const float> group_of(const float* x, std::size_t group, std::size_t size) noexcept {
  return {x + group * size, size};
}

/// Codes of a group once its scale and offset are what the block can hold. Where the scale has become zero the codes of
/// the search stay.
inline void requantise(std::span<const float> x, float scale, float min, std::int32_t top,
                       std::uint8_t* codes) noexcept {
  if (scale == 0) return;
  for (std::size_t i = 0; i < x.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(std::clamp(nearest((x[i] + min) / scale), 0, top));
  }
}

/// The same without an offset; codes are 0 … 2·half − 1.
inline void requantise_signed(std::span<const float> x, float scale, std::int32_t half, std::uint8_t* codes) noexcept {
  if (scale == 0) return;
  for (std::size_t i = 0; i < x.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(std::clamp(nearest(x[i] / scale), -half, half - 1) + half);
  }
}

// Q2_K and Q3_K

/// Stores the codes of a block whose scales and offsets are stored.
inline void finish_q2_k(const float* x, Codes& codes, std::byte* dst) noexcept {
  const float d = load_scale(dst + 80), dmin = load_scale(dst + 82);
  for (std::size_t g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(get_bits(dst, {g, 0}, 15));
    const float min = dmin * static_cast<float>(get_bits(dst, {g, 4}, 15));
    requantise(group_of(x, g, 16), scale, min, 3, codes.data() + g * 16);
  }
  for (std::size_t i = 0; i < kSuperBlock; ++i) put_bits(dst + 16, pair_of_bits(i), codes[i]);
}

/// Scale g of Q3_K without its bias.
inline std::int32_t q3_k_scale(const std::byte* scales, std::size_t g) noexcept {
  const std::uint32_t low = get_bits(scales, {g % 8, g / 8 * 4}, 15);
  const std::uint32_t high = get_bits(scales, {8 + g % 4, g / 4 * 2}, 3);
  return static_cast<std::int32_t>(low | high << 4) - 32;
}

inline void store_q3_k_scale(std::int32_t scale, std::byte* scales, std::size_t g) noexcept {
  const std::uint32_t biased = static_cast<std::uint32_t>(scale + 32);
  put_bits(scales, {g % 8, g / 8 * 4}, biased & 15);
  put_bits(scales, {8 + g % 4, g / 4 * 2}, biased >> 4);
}

/// Stores the codes of a block whose scales are stored.
inline void finish_q3_k(const float* x, Codes& codes, std::byte* dst) noexcept {
  const float d = load_scale(dst + 108);
  for (std::size_t g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(q3_k_scale(dst + 96, g));
    requantise_signed(group_of(x, g, 16), scale, 4, codes.data() + g * 16);
  }
  for (std::size_t i = 0; i < kSuperBlock; ++i) {
    put_bits(dst, high_bit(i), codes[i] >> 2U);
    put_bits(dst + 32, pair_of_bits(i), codes[i] & 3U);
  }
}

// Q4_K and Q5_K

struct ScaleAndMin {
  std::uint32_t scale, min;
};

/// Scale and offset of group g from the 12 bytes that hold them all.
inline ScaleAndMin load_six_bits(const std::byte* src, std::size_t g) noexcept {
  if (g < 4) return {get_bits(src, {g, 0}, 63), get_bits(src, {g + 4, 0}, 63)};
  return {get_bits(src, {g + 4, 0}, 15) | get_bits(src, {g - 4, 6}, 3) << 4,
          get_bits(src, {g + 4, 4}, 15) | get_bits(src, {g, 6}, 3) << 4};
}

inline void store_six_bits(ScaleAndMin of, std::byte* dst, std::size_t g) noexcept {
  if (g < 4) {
    put_bits(dst, {g, 0}, of.scale);
    put_bits(dst, {g + 4, 0}, of.min);
    return;
  }
  put_bits(dst, {g + 4, 0}, of.scale & 15);
  put_bits(dst, {g + 4, 4}, of.min & 15);
  put_bits(dst, {g - 4, 6}, of.scale >> 4);
  put_bits(dst, {g, 6}, of.min >> 4);
}

inline void store_q4_k_codes(const Codes& codes, std::byte* dst) noexcept {
  for (std::size_t i = 0; i < kSuperBlock; ++i) put_bits(dst + 16, nibble(i), codes[i]);
}

inline void store_q5_k_codes(const Codes& codes, std::byte* dst) noexcept {
  for (std::size_t i = 0; i < kSuperBlock; ++i) {
    put_bits(dst + 16, high_bit(i), codes[i] >> 4U);
    put_bits(dst + 48, nibble(i), codes[i] & 15U);
  }
}

}  // namespace headrace::codec::scalar
