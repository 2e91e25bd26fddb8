#include "flow/difference.hpp"

#include "codec/codec.hpp"
#include "codec/simd/error_kernels.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace headrace::flow {
namespace {

using codec::kernels::distance;

constexpr std::size_t kStrands = codec::kernels::kErrorStrands;

using Whole = __int128;  // holds every integer type and the difference of any two

bool is_whole(DType dtype) noexcept { return !is_float(dtype) && !is_block(dtype); }

template <typename T, typename Number>
void load(const std::byte* from, Number* to, std::size_t elements) noexcept {
  for (std::size_t i = 0; i < elements; ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    to[i] = static_cast<Number>(value);  // NOLINT(bugprone-signed-char-misuse): a number, no character
  }
}

void decode_tile(DType dtype, const std::byte* from, Whole* to, std::size_t elements) noexcept {
  switch (dtype) {
    case DType::I8: return load<std::int8_t>(from, to, elements);
    case DType::U16: return load<std::uint16_t>(from, to, elements);
    case DType::I16: return load<std::int16_t>(from, to, elements);
    case DType::U32: return load<std::uint32_t>(from, to, elements);
    case DType::I32: return load<std::int32_t>(from, to, elements);
    case DType::U64: return load<std::uint64_t>(from, to, elements);
    case DType::I64: return load<std::int64_t>(from, to, elements);
    default: return load<std::uint8_t>(from, to, elements);  // U8, BOOL
  }
}

void decode_tile(DType dtype, const std::byte* from, double* to, std::size_t elements) noexcept {
  if (dtype == DType::F64) return load<double>(from, to, elements);
  std::array<float, kErrorTile> tile;
  codec::decode(dtype, from, tile.data(), elements);
  for (std::size_t i = 0; i < elements; ++i) to[i] = tile[i];
}

// Float32 that lies where a float may is left there.
const float* decode_tile(DType dtype, const std::byte* from, float* to, std::size_t elements) noexcept {
  if (dtype == DType::F32 && reinterpret_cast<std::uintptr_t>(from) % alignof(float) == 0) {
    return reinterpret_cast<const float*>(from);
  }
  codec::decode(dtype, from, to, elements);
  return to;
}

double distance(Whole a, Whole b) noexcept { return static_cast<double>(a < b ? b - a : a - b); }

// Whole numbers, and float64. `Sum` holds the squares of all numbers that can come up.
template <typename Sum, typename Number>
Difference tile_difference(DType a_type, const std::byte* a, DType b_type, const std::byte* b,
                           std::size_t elements) noexcept {
  std::array<Number, kErrorTile> a_tile, b_tile;
  decode_tile(a_type, a, a_tile.data(), elements);
  decode_tile(b_type, b, b_tile.data(), elements);
  Difference sum;
  std::array<Sum, kStrands> error{}, squared{}, other{}, product{};
  for (std::size_t i = 0; i < elements; ++i) {
    const double apart = distance(a_tile[i], b_tile[i]);
    const Sum truth = static_cast<double>(a_tile[i]), number = static_cast<double>(b_tile[i]);
    error[i % kStrands] += Sum{apart} * Sum{apart};
    sum.largest = std::max(sum.largest, apart);
    if (!std::isfinite(truth)) continue;
    squared[i % kStrands] += truth * truth;
    if (!std::isfinite(number)) continue;
    other[i % kStrands] += number * number;
    product[i % kStrands] += truth * number;
  }
  for (std::size_t i = 0; i < kStrands; ++i) sum.add({error[i], squared[i], other[i], product[i], 0});
  return sum;
}

Difference float_tile_difference(DType a_type, const std::byte* a, DType b_type, const std::byte* b,
                                 std::size_t elements) noexcept {
  alignas(64) std::array<float, kErrorTile> a_tile, b_tile;
  const float* const truth = decode_tile(a_type, a, a_tile.data(), elements);
  const float* const numbers = decode_tile(b_type, b, b_tile.data(), elements);
  const auto sums = codec::kernels::error_sums(truth, numbers, elements);
  return {sums.squared_error, sums.squared, sums.squared_other, sums.product, sums.largest};
}

using TileDifference = Difference (*)(DType a_type, const std::byte* a, DType b_type, const std::byte* b,
                                      std::size_t elements) noexcept;

TileDifference tile_difference_of(DType a_type, DType b_type) noexcept {
  if (is_whole(a_type)) return tile_difference<double, Whole>;
  // float32's squares fit float64; float64's need more, and the processor's slower arithmetic.
  const bool wide = a_type == DType::F64 || b_type == DType::F64;
  return wide ? tile_difference<long double, double> : float_tile_difference;
}

}  // namespace

void Difference::add(const Difference& other) noexcept {
  squared_error += other.squared_error;
  squared += other.squared;
  squared_other += other.squared_other;
  product += other.product;
  largest = std::max(largest, other.largest);
}

double Difference::relative_rmse() const noexcept {
  if (squared_error == 0) return 0;
  if (squared == 0 || std::isinf(largest)) return std::numeric_limits<double>::infinity();
  return static_cast<double>(std::sqrt(squared_error / squared));
}

double Difference::cosine() const noexcept {
  if (squared == 0 || squared_other == 0) return squared == squared_other ? 1 : 0;
  // So written it is exactly 1 where b is a, and leaves the range no sooner than the sums do.
  const long double cosine = product / squared * std::sqrt(squared / squared_other);
  return static_cast<double>(std::clamp(cosine, -1.0L, 1.0L));
}

bool comparable(DType a, DType b) noexcept {
  return codec::can_decode(a) && codec::can_decode(b) && is_whole(a) == is_whole(b);
}

Difference difference(DType a_type, const std::byte* a, DType b_type, const std::byte* b,
                      std::size_t elements) noexcept {
  const TileDifference tile_difference = tile_difference_of(a_type, b_type);
  Difference sum;
  while (elements > 0) {
    const std::size_t now = std::min(elements, kErrorTile);
    sum.add(tile_difference(a_type, a, b_type, b, now));
    a += *bytes_of(a_type, now);
    b += *bytes_of(b_type, now);
    elements -= now;
  }
  return sum;
}

}  // namespace headrace::flow
