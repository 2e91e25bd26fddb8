// The searches for a group's scale: which scale, of several tried, fits a group of numbers best.
//
// They try scales near the plain one, measure each by a weighted sum over the group, and keep the best. Sums run in
// order and in float32, as in ggml: another order would give other bytes. Codes are those of the chosen scale.
// `x` holds 8, 16 or 32 numbers; weights are one a number, not negative where the numbers are finite. They may all be
// zero: then nothing is known to be better than the first scale tried, or the scale is zero.
//
// Source: ggml-quants.c, make_qx_quants, make_q3_quants, make_qp_quants, make_qkx2_quants, make_qkx3_quants.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace::codec::scalar {

inline constexpr std::size_t kMaxGroup = 32;  ///< numbers in the largest group

/// Below this a group or a block counts as all zeros (ggml's GROUP_MAX_EPS).
inline constexpr float kTiny = 1e-15F;

/// x[i] ≈ scale · (codes[i] − half), codes in 0 … 2·half − 1. Weighted least squares around 19 scales that give the
/// largest number a code of −half, or nearly (make_qx_quants, type 1). All codes are 0, and so is the scale, when the
/// numbers are tiny.
float search_scale(std::span<const float> x, const float* weights, std::int32_t half, std::uint8_t* codes) noexcept;

/// x[i] ≈ scale · (codes[i] − half), codes in 0 … 2·half − 1. Starts from the scale that gives the largest number
/// −half, then changes one code at a time while that helps, each number weighing its square (make_q3_quants).
/// All codes are 0, and so is the scale, when the numbers are tiny.
float descend_scale(std::span<const float> x, std::int32_t half, std::uint8_t* codes) noexcept;

/// x[i] ≈ scale · codes[i], for numbers that should not be negative, codes in 0 … top. Takes the best of nine scales
/// that give the largest number the code `top`, or nearly, then changes one code at a time while that helps
/// (make_qp_quants). All codes are 0, and so is the scale, when no number is above a tiny one. A negative number has
/// its code modulo 256, as in ggml.
float search_positive_scale(std::span<const float> x, const float* weights, std::int32_t top,
                            std::uint8_t* codes) noexcept;

/// Which scales a search with an offset tries: the steps of (max − min) / (top + first + step · k), k in 0 … last,
/// where min is the best offset so far.
struct AffineSearch {
  std::int32_t top;  ///< codes are 0 … top
  float first, step;
  std::int32_t last;
  bool absolute;  ///< measures |error|, not its square
};

struct AffineFit {
  float scale, min;  ///< min is subtracted, and not negative where the numbers are finite
};

/// x[i] ≈ scale · codes[i] − min (make_qkx2_quants, and make_qkx3_quants, which is the same when it is given weights).
AffineFit search_scale_and_min(std::span<const float> x, const float* weights, const AffineSearch& search,
                               std::uint8_t* codes) noexcept;

}  // namespace headrace::codec::scalar
