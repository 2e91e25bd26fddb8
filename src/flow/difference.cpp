#include "flow/difference.hpp"

#include "codec/codec.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace headrace::flow {
namespace {

constexpr std::size_t kTile = 2048;  // a multiple of every block
constexpr std::size_t kLanes = 8;    // sums are kept in this many strands, whatever the processor's vectors are

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
  std::array<float, kTile> tile;
  codec::decode(dtype, from, tile.data(), elements);
  for (std::size_t i = 0; i < elements; ++i) to[i] = tile[i];
}

double distance(Whole a, Whole b) noexcept { return static_cast<double>(a < b ? b - a : a - b); }

// |a − b| as verify means it: equal infinities and a NaN on both sides agree.
double distance(double a, double b) noexcept {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double apart = std::abs(a - b);
  return std::isnan(apart) ? std::numeric_limits<double>::infinity() : apart;
}

// `Sum` holds the squares of all numbers that can come up.
template <typename Sum, typename Number>
Difference tile_difference(const Number* a, const Number* b, std::size_t elements) noexcept {
  std::array<Sum, kLanes> error{}, square{};
  std::array<double, kLanes> largest{};
  for (std::size_t i = 0; i < elements; ++i) {
    const double apart = distance(a[i], b[i]);
    const auto truth = static_cast<double>(a[i]);
    error[i % kLanes] += Sum{apart} * Sum{apart};
    square[i % kLanes] += std::isfinite(truth) ? Sum{truth} * Sum{truth} : 0;
    largest[i % kLanes] = std::max(largest[i % kLanes], apart);
  }
  Difference sum;
  for (std::size_t lane = 0; lane < kLanes; ++lane) sum.add({error[lane], square[lane], largest[lane]});
  return sum;
}

template <typename Sum, typename Number>
Difference run_difference(DType a_type, const std::byte* a, DType b_type, const std::byte* b,
                          std::size_t elements) noexcept {
  std::array<Number, kTile> a_tile, b_tile;
  Difference sum;
  while (elements > 0) {
    const std::size_t now = std::min(elements, kTile);
    decode_tile(a_type, a, a_tile.data(), now);
    decode_tile(b_type, b, b_tile.data(), now);
    sum.add(tile_difference<Sum>(a_tile.data(), b_tile.data(), now));
    a += *bytes_of(a_type, now);
    b += *bytes_of(b_type, now);
    elements -= now;
  }
  return sum;
}

}  // namespace

void Difference::add(const Difference& other) noexcept {
  squared_error += other.squared_error;
  squared += other.squared;
  largest = std::max(largest, other.largest);
}

double Difference::relative_rmse() const noexcept {
  if (squared_error == 0) return 0;
  if (squared == 0 || std::isinf(largest)) return std::numeric_limits<double>::infinity();
  return static_cast<double>(std::sqrt(squared_error / squared));
}

bool comparable(DType a, DType b) noexcept {
  return codec::can_decode(a) && codec::can_decode(b) && is_whole(a) == is_whole(b);
}

Difference difference(DType a_type, const std::byte* a, DType b_type, const std::byte* b,
                      std::size_t elements) noexcept {
  if (is_whole(a_type)) return run_difference<double, Whole>(a_type, a, b_type, b, elements);
  // float32's squares fit float64; float64's need more, and the processor's slower arithmetic.
  const bool wide = a_type == DType::F64 || b_type == DType::F64;
  if (wide) return run_difference<long double, double>(a_type, a, b_type, b, elements);
  return run_difference<double, double>(a_type, a, b_type, b, elements);
}

}  // namespace headrace::flow
