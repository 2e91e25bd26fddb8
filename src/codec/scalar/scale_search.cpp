#include "codec/scalar/scale_search.hpp"

#include "codec/scalar/block_support.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace headrace::codec::scalar {
namespace {

/// The code of a number in −half … half − 1, given how many steps it is from zero.
std::int32_t signed_code(float steps, std::int32_t half) noexcept {
  return std::clamp(nearest(steps), -half, half - 1);
}

/// What least squares needs for one scale: weighted sums of x · code and of code².
struct Sums {
  float xl = 0, ll = 0;

  void add(float weight, float x, float code) noexcept {
    xl += weight * x * code;
    ll += weight * code * code;
  }
};

Sums sums_of(std::span<const float> x, const float* weights, float inverse, std::int32_t half) noexcept {
  Sums sums;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sums.add(weights[i], x[i], static_cast<float>(signed_code(inverse * x[i], half)));
  }
  return sums;
}

void assign_codes(std::span<const float> x, float inverse, std::int32_t half, std::uint8_t* codes) noexcept {
  for (std::size_t i = 0; i < x.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(signed_code(inverse * x[i], half) + half);
  }
}

using Levels = std::array<std::int32_t, kMaxGroup>;

/// Visits each number once and moves its level where the others' best scale would put it, if the fit gains. Returns
/// whether any moved.
bool improve(std::span<const float> x, std::int32_t half, Levels& levels, Sums& sums) noexcept {
  bool moved = false;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float weight = x[i] * x[i];
    const float level = static_cast<float>(levels[i]);
    Sums others;
    others.xl = sums.xl - weight * x[i] * level;
    if (!(others.xl > 0)) continue;
    others.ll = sums.ll - weight * level * level;
    const std::int32_t better = signed_code(x[i] * others.ll / others.xl, half);
    if (better == levels[i]) continue;
    others.add(weight, x[i], static_cast<float>(better));
    if (others.ll > 0 && others.xl * others.xl * sums.ll > sums.xl * sums.xl * others.ll) {
      levels[i] = better;
      sums = others;
      moved = true;
    }
  }
  return moved;
}

/// The code of a number that is so many steps above zero. One below zero gets a negative code.
std::int32_t code_up_to(std::int32_t top, float steps) noexcept { return std::min(nearest(steps), top); }

/// The inverse of the scale, of nine, at which codes of 0 … top leave the least weighted squared error.
float best_inverse(std::span<const float> x, const float* weights, float most, std::int32_t top) noexcept {
  float best = static_cast<float>(top) / most;
  const float plain = 1 / best;
  float best_error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    // Here alone a code is cut to its byte, and not held to `top`, as ggml does it.
    const auto code = static_cast<std::uint8_t>(nearest(best * x[i]));
    const float difference = x[i] - plain * static_cast<float>(code);
    best_error += weights[i] * difference * difference;
  }
  for (std::int32_t tenths = -4; tenths <= 4; ++tenths) {
    if (tenths == 0) continue;
    const float inverse = (0.1F * static_cast<float>(tenths) + static_cast<float>(top)) / most;
    const float scale = 1 / inverse;
    float error = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float difference = x[i] - scale * static_cast<float>(code_up_to(top, inverse * x[i]));
      error += weights[i] * difference * difference;
    }
    if (error < best_error) {
      best_error = error;
      best = inverse;
    }
  }
  return best;
}

/// Visits each number once and moves its code where the others' best scale would put it, if the fit gains. Returns
/// whether any moved.
bool improve_positive(std::span<const float> x, const float* weights, std::int32_t top, std::uint8_t* codes,
                      Sums& sums) noexcept {
  bool moved = false;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float code = static_cast<float>(codes[i]);
    Sums others;
    others.xl = sums.xl - weights[i] * x[i] * code;
    others.ll = sums.ll - weights[i] * code * code;
    if (!(others.xl > 0 && others.ll > 0)) continue;
    const std::int32_t better = code_up_to(top, x[i] * others.ll / others.xl);
    if (better == codes[i]) continue;
    others.add(weights[i], x[i], static_cast<float>(better));
    if (others.xl * others.xl * sums.ll > sums.xl * sums.xl * others.ll) {
      codes[i] = static_cast<std::uint8_t>(better);
      sums = others;
      moved = true;
    }
  }
  return moved;
}

/// The ends of a group and its weighted sums, none of which depends on the scale tried.
struct Group {
  float min, max;
  float weight, x;
};

Group measure(std::span<const float> x, const float* weights) noexcept {
  Group group{x[0], x[0], weights[0], weights[0] * x[0]};
  for (std::size_t i = 1; i < x.size(); ++i) {
    if (x[i] < group.min) group.min = x[i];
    if (x[i] > group.max) group.max = x[i];
    group.weight += weights[i];
    group.x += weights[i] * x[i];
  }
  if (group.min > 0) group.min = 0;  // the offset can only go down
  return group;
}

void assign_codes_from(float min, std::span<const float> x, float inverse, std::int32_t top,
                       std::uint8_t* codes) noexcept {
  for (std::size_t i = 0; i < x.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(std::clamp(nearest(inverse * (x[i] - min)), 0, top));
  }
}

float error_of(std::span<const float> x, const float* weights, const std::uint8_t* codes, float scale, float min,
               bool absolute) noexcept {
  float sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float difference = scale * static_cast<float>(codes[i]) + min - x[i];
    sum += weights[i] * (absolute ? std::fabs(difference) : difference * difference);
  }
  return sum;
}

struct Line {
  float scale, min;
};

/// The line of least squares through the codes, with an offset not above zero. False where it isn't determined.
bool fit_line(std::span<const float> x, const float* weights, const std::uint8_t* codes, const Group& group,
              Line& line) noexcept {
  float sum_l = 0, sum_l2 = 0, sum_xl = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float code = static_cast<float>(codes[i]);
    sum_l += weights[i] * code;
    sum_l2 += weights[i] * code * code;
    sum_xl += weights[i] * code * x[i];
  }
  const float determinant = group.weight * sum_l2 - sum_l * sum_l;
  if (!(determinant > 0)) return false;
  line.scale = (group.weight * sum_xl - group.x * sum_l) / determinant;
  line.min = (sum_l2 * group.x - sum_l * sum_xl) / determinant;
  if (line.min > 0) line = {sum_xl / sum_l2, 0};
  return true;
}

}  // namespace

float search_scale(std::span<const float> x, const float* weights, std::int32_t half, std::uint8_t* codes) noexcept {
  const float most = largest(x);
  if (std::fabs(most) < kTiny) {
    std::fill_n(codes, x.size(), std::uint8_t{0});
    return 0;
  }
  const float plain = static_cast<float>(-half) / most;
  assign_codes(x, plain, half, codes);
  const Sums sums = sums_of(x, weights, plain, half);
  float scale = sums.ll != 0 ? sums.xl / sums.ll : 0;
  float best = scale * sums.xl;
  for (std::int32_t tenths = -9; tenths <= 9; ++tenths) {
    if (tenths == 0) continue;
    const float inverse = -(static_cast<float>(half) + 0.1F * static_cast<float>(tenths)) / most;
    const Sums tried = sums_of(x, weights, inverse, half);
    if (tried.ll > 0 && tried.xl * tried.xl > best * tried.ll) {
      assign_codes(x, inverse, half, codes);
      scale = tried.xl / tried.ll;
      best = scale * tried.xl;
    }
  }
  return scale;
}

float descend_scale(std::span<const float> x, std::int32_t half, std::uint8_t* codes) noexcept {
  const float most = largest(x);
  if (std::fabs(most) < kTiny) {
    std::fill_n(codes, x.size(), std::uint8_t{0});
    return 0;
  }
  const float plain = static_cast<float>(-half) / most;
  Levels levels{};
  Sums sums;
  for (std::size_t i = 0; i < x.size(); ++i) {
    levels[i] = signed_code(plain * x[i], half);
    sums.add(x[i] * x[i], x[i], static_cast<float>(levels[i]));
  }
  for (int round = 0; round < 5 && improve(x, half, levels, sums);) ++round;
  for (std::size_t i = 0; i < x.size(); ++i) codes[i] = static_cast<std::uint8_t>(levels[i] + half);
  return sums.ll > 0 ? sums.xl / sums.ll : 0;
}

float search_positive_scale(std::span<const float> x, const float* weights, std::int32_t top,
                            std::uint8_t* codes) noexcept {
  float most = 0;
  for (const float number : x) most = most > number ? most : number;  // in this form the number after NaN replaces it
  if (most < kTiny) {
    std::fill_n(codes, x.size(), std::uint8_t{0});
    return 0;
  }
  const float inverse = best_inverse(x, weights, most, top);
  Sums sums;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::int32_t code = code_up_to(top, inverse * x[i]);
    codes[i] = static_cast<std::uint8_t>(code);
    sums.add(weights[i], x[i], static_cast<float>(code));  // by the whole code, whatever its byte says
  }
  for (int round = 0; round < 5 && improve_positive(x, weights, top, codes, sums);) ++round;
  return sums.ll > 0 ? sums.xl / sums.ll : 0;
}

AffineFit search_scale_and_min(std::span<const float> x, const float* weights, const AffineSearch& search,
                               std::uint8_t* codes) noexcept {
  const Group group = measure(x, weights);
  if (group.max == group.min) {
    std::fill_n(codes, x.size(), std::uint8_t{0});
    return {0, -group.min};
  }
  const float plain = static_cast<float>(search.top) / (group.max - group.min);
  Line best{1 / plain, group.min};
  assign_codes_from(group.min, x, plain, search.top, codes);
  float best_error = error_of(x, weights, codes, best.scale, best.min, search.absolute);

  std::array<std::uint8_t, kMaxGroup> tried{};
  for (std::int32_t k = 0; k <= search.last; ++k) {
    const float steps = search.first + search.step * static_cast<float>(k) + static_cast<float>(search.top);
    // From the best offset so far, not from the group's own end, as ggml does it.
    assign_codes_from(best.min, x, steps / (group.max - best.min), search.top, tried.data());
    Line line{};
    if (!fit_line(x, weights, tried.data(), group, line)) continue;
    const float error = error_of(x, weights, tried.data(), line.scale, line.min, search.absolute);
    if (error < best_error) {
      std::copy_n(tried.data(), x.size(), codes);
      best_error = error;
      best = line;
    }
  }
  return {best.scale, -best.min};
}

}  // namespace headrace::codec::scalar
