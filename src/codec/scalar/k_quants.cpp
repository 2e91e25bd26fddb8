#include "codec/scalar/k_quants.hpp"

#include "codec/scalar/k_blocks.hpp"
#include "codec/scalar/scale_search.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

namespace headrace::codec::scalar {
namespace {

/// The largest that is above zero, or zero.
template <std::size_t N>
float most_of(const std::array<float, N>& numbers) noexcept {
  float most = 0;
  for (const float number : numbers) {
    if (number > most) most = number;
  }
  return most;
}

/// Scales and offsets of the groups of a block before they are made integers.
template <std::size_t N>
struct Fits {
  std::array<float, N> scales, mins;

  void set(std::size_t group, AffineFit fit) noexcept {
    scales[group] = fit.scale;
    mins[group] = fit.min;
  }
};

// Q2_K

constexpr AffineSearch kQ2KSearch{3, -0.5F, 0.1F, 15, true};

/// Makes scales and offsets integers of 0 … 15. What NaN and infinity in their groups make of them may be beyond that,
/// and then falls into the neighbour's bits or off, as in ggml.
void store_q2_k_scales(const Fits<16>& fits, std::byte* dst) noexcept {
  const float most_scale = most_of(fits.scales), most_min = most_of(fits.mins);
  for (std::size_t g = 0; g < 16; ++g) {
    if (most_scale > 0) put_bits(dst, {g, 0}, static_cast<std::uint32_t>(nearest(15 / most_scale * fits.scales[g])));
    if (most_min > 0) put_bits(dst, {g, 4}, static_cast<std::uint32_t>(nearest(15 / most_min * fits.mins[g])));
  }
  store_scale(most_scale / 15, dst + 80);
  store_scale(most_min / 15, dst + 82);
}

void encode_q2_k_block(const float* x, std::byte* dst) noexcept {
  Codes codes;
  Fits<16> fits;
  for (std::size_t g = 0; g < 16; ++g) {
    const std::span<const float> group = group_of(x, g, 16);
    float weights[16];
    for (std::size_t i = 0; i < 16; ++i) weights[i] = std::fabs(group[i]);
    fits.set(g, search_scale_and_min(group, weights, kQ2KSearch, codes.data() + g * 16));
  }
  std::memset(dst, 0, kQ2KBytes);
  store_q2_k_scales(fits, dst);
  finish_q2_k(x, codes, dst);
}

void decode_q2_k_block(const std::byte* src, float* x) noexcept {
  const float d = load_scale(src + 80), dmin = load_scale(src + 82);
  for (std::size_t g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(get_bits(src, {g, 0}, 15));
    const float min = dmin * static_cast<float>(get_bits(src, {g, 4}, 15));
    for (std::size_t i = g * 16; i < (g + 1) * 16; ++i) {
      x[i] = scale * static_cast<float>(get_bits(src + 16, pair_of_bits(i), 3)) - min;
    }
  }
}

// Q3_K and Q6_K

void encode_q3_k_block(const float* x, std::byte* dst) noexcept {
  Codes codes;
  std::array<float, 16> fits;
  for (std::size_t g = 0; g < 16; ++g) fits[g] = descend_scale(group_of(x, g, 16), 4, codes.data() + g * 16);

  std::memset(dst, 0, kQ3KBytes);
  const float most = largest(fits);
  if (most != 0) {  // else all scales are stored as zeros, which stand for −32
    const float inverse = -32 / most;
    for (std::size_t g = 0; g < 16; ++g) {
      const auto scale = static_cast<std::int8_t>(nearest(inverse * fits[g]) & 0xFF);
      store_q3_k_scale(std::clamp<std::int32_t>(scale, -32, 31), dst + 96, g);
    }
    store_scale(1 / inverse, dst + 108);
  }
  finish_q3_k(x, codes, dst);
}

void decode_q3_k_block(const std::byte* src, float* x) noexcept {
  const float d = load_scale(src + 108);
  for (std::size_t g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(q3_k_scale(src + 96, g));
    for (std::size_t i = g * 16; i < (g + 1) * 16; ++i) {
      const std::uint32_t code = get_bits(src + 32, pair_of_bits(i), 3) | get_bits(src, high_bit(i), 1) << 2;
      x[i] = scale * static_cast<float>(static_cast<std::int32_t>(code) - 4);
    }
  }
}

/// With an importance matrix the importance itself is the weight.
void encode_q6_k_block(const float* x, const float* weights, std::byte* dst) noexcept {
  Codes codes;
  std::array<float, 16> fits;
  for (std::size_t g = 0; g < 16; ++g) {
    fits[g] = search_scale(group_of(x, g, 16), weights + g * 16, 32, codes.data() + g * 16);
  }

  std::memset(dst, 0, kQ6KBytes);
  const float most = largest(fits);
  if (std::fabs(most) < kTiny) return;
  const float inverse = -128 / most;
  store_scale(1 / inverse, dst + 208);
  const float d = load_scale(dst + 208);
  for (std::size_t g = 0; g < 16; ++g) {
    const auto scale = static_cast<std::int8_t>(std::min(127, nearest(inverse * fits[g])) & 0xFF);
    dst[192 + g] = static_cast<std::byte>(scale);
    requantise_signed(group_of(x, g, 16), d * static_cast<float>(scale), 32, codes.data() + g * 16);
  }
  for (std::size_t i = 0; i < kSuperBlock; ++i) {
    put_bits(dst, wide_nibble(i), codes[i] & 15U);
    put_bits(dst + 128, pair_of_bits(i), codes[i] >> 4U);
  }
}

/// Without one each number weighs its square.
void encode_q6_k_block(const float* x, std::byte* dst) noexcept {
  std::array<float, kSuperBlock> weights;
  for (std::size_t i = 0; i < kSuperBlock; ++i) weights[i] = x[i] * x[i];
  encode_q6_k_block(x, weights.data(), dst);
}

void decode_q6_k_block(const std::byte* src, float* x) noexcept {
  const float d = load_scale(src + 208);
  for (std::size_t g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(std::to_integer<std::int8_t>(src[192 + g]));
    for (std::size_t i = g * 16; i < (g + 1) * 16; ++i) {
      const std::uint32_t code = get_bits(src, wide_nibble(i), 15) | get_bits(src + 128, pair_of_bits(i), 3) << 4;
      x[i] = scale * static_cast<float>(static_cast<std::int32_t>(code) - 32);
    }
  }
}

// Q4_K and Q5_K

constexpr AffineSearch kQ4KSearch{15, -1.0F, 0.1F, 20, false};
constexpr AffineSearch kQ5KSearch{31, -0.5F, 0.1F, 15, false};

/// An integer of 0 … 63 from the low byte of the nearest one, which is not the same for NaN.
std::uint32_t six_bits(float number) noexcept {
  return std::min(static_cast<std::uint32_t>(nearest(number)) & 0xFF, 63U);
}

/// Each number weighs its magnitude plus the group's root mean square, so that small ones count too.
void mean_weights(std::span<const float> x, float* weights) noexcept {
  const float mean = std::sqrt(sum_of_squares(x) / 32);
  for (std::size_t i = 0; i < x.size(); ++i) weights[i] = mean + std::fabs(x[i]);
}

/// Finds the codes of a block, and stores its first 16 bytes: d, dmin and the integer scales and offsets.
void encode_eight_groups(const float* x, const AffineSearch& search, std::byte* dst, Codes& codes) noexcept {
  Fits<8> fits;
  for (std::size_t g = 0; g < 8; ++g) {
    float weights[32];
    mean_weights(group_of(x, g, 32), weights);
    fits.set(g, search_scale_and_min(group_of(x, g, 32), weights, search, codes.data() + g * 32));
  }
  const float most_scale = most_of(fits.scales), most_min = most_of(fits.mins);
  const float inverse_scale = most_scale > 0 ? 63 / most_scale : 0;
  const float inverse_min = most_min > 0 ? 63 / most_min : 0;
  store_scale(most_scale / 63, dst);
  store_scale(most_min / 63, dst + 2);
  const float d = load_scale(dst), dmin = load_scale(dst + 2);
  for (std::size_t g = 0; g < 8; ++g) {
    const ScaleAndMin of{six_bits(inverse_scale * fits.scales[g]), six_bits(inverse_min * fits.mins[g])};
    store_six_bits(of, dst + 4, g);
    requantise(group_of(x, g, 32), d * static_cast<float>(of.scale), dmin * static_cast<float>(of.min), search.top,
               codes.data() + g * 32);
  }
}

void encode_q4_k_block(const float* x, std::byte* dst) noexcept {
  Codes codes;
  std::memset(dst, 0, kQ4KBytes);
  encode_eight_groups(x, kQ4KSearch, dst, codes);
  store_q4_k_codes(codes, dst);
}

void encode_q5_k_block(const float* x, std::byte* dst) noexcept {
  Codes codes;
  std::memset(dst, 0, kQ5KBytes);
  encode_eight_groups(x, kQ5KSearch, dst, codes);
  store_q5_k_codes(codes, dst);
}

/// Decodes a block whose first 16 bytes are those of Q4_K; `code` gives the code of number i.
template <typename CodeOf>
void decode_eight_groups(const std::byte* src, float* x, CodeOf code) noexcept {
  const float d = load_scale(src), dmin = load_scale(src + 2);
  for (std::size_t g = 0; g < 8; ++g) {
    const ScaleAndMin of = load_six_bits(src + 4, g);
    const float scale = d * static_cast<float>(of.scale), min = dmin * static_cast<float>(of.min);
    for (std::size_t i = g * 32; i < (g + 1) * 32; ++i) x[i] = scale * static_cast<float>(code(i)) - min;
  }
}

void decode_q4_k_block(const std::byte* src, float* x) noexcept {
  decode_eight_groups(src, x, [src](std::size_t i) { return get_bits(src + 16, nibble(i), 15); });
}

void decode_q5_k_block(const std::byte* src, float* x) noexcept {
  decode_eight_groups(src, x, [src](std::size_t i) {
    return get_bits(src + 48, nibble(i), 15) | get_bits(src + 16, high_bit(i), 1) << 4;
  });
}

}  // namespace

void decode_q2_k(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kQ2KBytes, dst += kSuperBlock) decode_q2_k_block(src, dst);
}
void decode_q3_k(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kQ3KBytes, dst += kSuperBlock) decode_q3_k_block(src, dst);
}
void decode_q4_k(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kQ4KBytes, dst += kSuperBlock) decode_q4_k_block(src, dst);
}
void decode_q5_k(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kQ5KBytes, dst += kSuperBlock) decode_q5_k_block(src, dst);
}
void decode_q6_k(const std::byte* src, float* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kQ6KBytes, dst += kSuperBlock) decode_q6_k_block(src, dst);
}

void encode_q2_k(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, dst += kQ2KBytes) encode_q2_k_block(src, dst);
}
void encode_q3_k(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, dst += kQ3KBytes) encode_q3_k_block(src, dst);
}
void encode_q4_k(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, dst += kQ4KBytes) encode_q4_k_block(src, dst);
}
void encode_q5_k(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, dst += kQ5KBytes) encode_q5_k_block(src, dst);
}
void encode_q6_k(const float* src, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, dst += kQ6KBytes) encode_q6_k_block(src, dst);
}

void encode_q6_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, weights.of += kSuperBlock, dst += kQ6KBytes) {
    encode_q6_k_block(src, weights.of, dst);
  }
}

}  // namespace headrace::codec::scalar
