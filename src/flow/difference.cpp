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

template <typename T>
void widen(const std::byte* from, double* to, std::size_t elements) noexcept {
  for (std::size_t i = 0; i < elements; ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    to[i] = static_cast<double>(value);
  }
}

// float32 would lose digits of the wide types; all others fit it exactly.
void to_doubles(DType dtype, const std::byte* from, double* to, std::size_t elements) noexcept {
  switch (dtype) {
    case DType::F64: return widen<double>(from, to, elements);
    case DType::I64: return widen<std::int64_t>(from, to, elements);
    case DType::U64: return widen<std::uint64_t>(from, to, elements);
    case DType::I32: return widen<std::int32_t>(from, to, elements);
    case DType::U32: return widen<std::uint32_t>(from, to, elements);
    default: break;
  }
  std::array<float, kTile> tile;
  codec::decode(dtype, from, tile.data(), elements);
  for (std::size_t i = 0; i < elements; ++i) to[i] = tile[i];
}

// |a − b| as verify means it: equal infinities and a NaN on both sides agree.
double distance(double a, double b) noexcept {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double apart = std::abs(a - b);
  return std::isnan(apart) ? std::numeric_limits<double>::infinity() : apart;
}

Difference tile_difference(const double* a, const double* b, std::size_t elements) noexcept {
  std::array<double, kLanes> error{}, square{}, largest{};
  for (std::size_t i = 0; i < elements; ++i) {
    const double apart = distance(a[i], b[i]);
    error[i % kLanes] += apart * apart;
    square[i % kLanes] += std::isfinite(a[i]) ? a[i] * a[i] : 0;
    largest[i % kLanes] = std::max(largest[i % kLanes], apart);
  }
  Difference sum;
  for (std::size_t lane = 0; lane < kLanes; ++lane) sum.add({error[lane], square[lane], largest[lane]});
  return sum;
}

}  // namespace

void Difference::add(const Difference& other) noexcept {
  squared_error += other.squared_error;
  squared += other.squared;
  largest = std::max(largest, other.largest);
}

bool comparable(DType a, DType b) noexcept {
  const auto real = [](DType dtype) { return is_float(dtype) || is_block(dtype); };
  return codec::can_decode(a) && codec::can_decode(b) && real(a) == real(b);
}

Difference difference(DType a_type, const std::byte* a, DType b_type, const std::byte* b,
                      std::size_t elements) noexcept {
  std::array<double, kTile> a_tile, b_tile;
  Difference sum;
  while (elements > 0) {
    const std::size_t now = std::min(elements, kTile);
    to_doubles(a_type, a, a_tile.data(), now);
    to_doubles(b_type, b, b_tile.data(), now);
    sum.add(tile_difference(a_tile.data(), b_tile.data(), now));
    a += *bytes_of(a_type, now);
    b += *bytes_of(b_type, now);
    elements -= now;
  }
  return sum;
}

}  // namespace headrace::flow
