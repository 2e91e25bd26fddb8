// The k-quants with an importance matrix: their searches try more scales, and another search, in which each group
// weighs the sum of its numbers' weights, makes the scales and offsets integers. Q6_K, where nothing but the weights
// differs, is in k_quants.cpp.
#include "codec/scalar/k_blocks.hpp"
#include "codec/scalar/scale_search.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace headrace::codec::scalar {
namespace {

constexpr AffineSearch kQ2KSearch{3, -0.9F, 0.05F, 36, false};
constexpr AffineSearch kQ4KSearch{15, -0.9F, 0.05F, 36, false};
constexpr AffineSearch kQ5KSearch{31, -0.9F, 0.05F, 36, false};

/// Twice the mean of the squares of a block.
float double_mean_square(const float* x) noexcept { return 2 * sum_of_squares({x, kSuperBlock}) / kSuperBlock; }

/// What the numbers of a block weigh, and their groups together.
template <std::size_t N>
struct GroupWeights {
  std::array<float, kSuperBlock> of;
  std::array<float, N> sums;
};

template <std::size_t N>
GroupWeights<N> weigh_groups(const float* x, const float* importance, float mean_square) noexcept {
  constexpr std::size_t kSize = kSuperBlock / N;
  GroupWeights<N> weights;
  for (std::size_t g = 0; g < N; ++g) {
    weights.sums[g] = weigh(group_of(x, g, kSize), importance + g * kSize, mean_square, weights.of.data() + g * kSize);
  }
  return weights;
}

/// Scales and offsets of the groups made integers.
template <std::size_t N>
struct Levels {
  std::array<std::uint8_t, N> scales, mins;
};

/// Finds the codes of a block whose groups have an offset, and makes their scales and offsets integers of 0 … top; what
/// these count in is stored at `d` and the two bytes after it.
template <std::size_t N>
Levels<N> fit_weighted(const float* x, const GroupWeights<N>& weights, const AffineSearch& search, std::int32_t top,
                       std::byte* d, Codes& codes) noexcept {
  constexpr std::size_t kSize = kSuperBlock / N;
  std::array<float, N> scales, mins;
  for (std::size_t g = 0; g < N; ++g) {
    const AffineFit fit =
        search_scale_and_min(group_of(x, g, kSize), weights.of.data() + g * kSize, search, codes.data() + g * kSize);
    scales[g] = fit.scale;
    mins[g] = fit.min;
  }
  Levels<N> levels;
  store_scale(search_positive_scale(scales, weights.sums.data(), top, levels.scales.data()), d);
  store_scale(search_positive_scale(mins, weights.sums.data(), top, levels.mins.data()), d + 2);
  return levels;
}

void encode_q2_k_block(const float* x, const float* importance, std::byte* dst) noexcept {
  Codes codes;
  const auto weights = weigh_groups<16>(x, importance, sum_of_squares({x, kSuperBlock}) / kSuperBlock);
  std::memset(dst, 0, kQ2KBytes);
  const Levels<16> levels = fit_weighted(x, weights, kQ2KSearch, 15, dst + 80, codes);
  for (std::size_t g = 0; g < 16; ++g) {
    put_bits(dst, {g, 0}, levels.scales[g]);
    put_bits(dst, {g, 4}, levels.mins[g]);
  }
  finish_q2_k(x, codes, dst);
}

void encode_q3_k_block(const float* x, const float* importance, std::byte* dst) noexcept {
  const auto weights = weigh_groups<16>(x, importance, double_mean_square(x));
  Codes codes;
  std::array<float, 16> fits;
  for (std::size_t g = 0; g < 16; ++g) {
    fits[g] = search_scale(group_of(x, g, 16), weights.of.data() + g * 16, 4, codes.data() + g * 16);
  }
  std::memset(dst, 0, kQ3KBytes);
  std::array<std::uint8_t, 16> scales;
  store_scale(search_scale(fits, weights.sums.data(), 32, scales.data()), dst + 108);
  for (std::size_t g = 0; g < 16; ++g) store_q3_k_scale(scales[g] - 32, dst + 96, g);
  finish_q3_k(x, codes, dst);
}

/// Finds the codes of a block, and stores its first 16 bytes. `most` is the largest integer scale or offset that is
/// stored: those that NaN in a group, or a scale below zero, make longer than six bits are cut by Q5_K, and fall into a
/// neighbour's bits in Q4_K, as in ggml.
void encode_eight_groups(const float* x, const float* importance, const AffineSearch& search, std::uint32_t most,
                         std::byte* dst, Codes& codes) noexcept {
  const auto weights = weigh_groups<8>(x, importance, double_mean_square(x));
  const Levels<8> levels = fit_weighted(x, weights, search, 63, dst, codes);
  for (std::size_t g = 0; g < 8; ++g) {
    store_six_bits({std::min<std::uint32_t>(levels.scales[g], most), std::min<std::uint32_t>(levels.mins[g], most)},
                   dst + 4, g);
  }
  const float d = load_scale(dst), dmin = load_scale(dst + 2);
  for (std::size_t g = 0; g < 8; ++g) {
    const ScaleAndMin of = load_six_bits(dst + 4, g);
    requantise(group_of(x, g, 32), d * static_cast<float>(of.scale), dmin * static_cast<float>(of.min), search.top,
               codes.data() + g * 32);
  }
}

void encode_q4_k_block(const float* x, const float* importance, std::byte* dst) noexcept {
  Codes codes;
  std::memset(dst, 0, kQ4KBytes);
  encode_eight_groups(x, importance, kQ4KSearch, 255, dst, codes);
  store_q4_k_codes(codes, dst);
}

void encode_q5_k_block(const float* x, const float* importance, std::byte* dst) noexcept {
  Codes codes;
  std::memset(dst, 0, kQ5KBytes);
  encode_eight_groups(x, importance, kQ5KSearch, 63, dst, codes);
  store_q5_k_codes(codes, dst);
}

}  // namespace

void encode_q2_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, weights.of += kSuperBlock, dst += kQ2KBytes) {
    encode_q2_k_block(src, weights.of, dst);
  }
}
void encode_q3_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, weights.of += kSuperBlock, dst += kQ3KBytes) {
    encode_q3_k_block(src, weights.of, dst);
  }
}
void encode_q4_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, weights.of += kSuperBlock, dst += kQ4KBytes) {
    encode_q4_k_block(src, weights.of, dst);
  }
}
void encode_q5_k_weighted(const float* src, Weights weights, std::byte* dst, std::size_t n) noexcept {
  for (; n != 0; n -= kSuperBlock, src += kSuperBlock, weights.of += kSuperBlock, dst += kQ5KBytes) {
    encode_q5_k_block(src, weights.of, dst);
  }
}

}  // namespace headrace::codec::scalar
