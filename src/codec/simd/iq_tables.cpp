#include "codec/simd/iq_tables.hpp"

#include "codec/scalar/iq_grids.hpp"

#include <bit>
#include <cstddef>

namespace headrace::codec::kernels {
namespace {

/// A packed point of coordinates of `kBits` bits, as many as `Point` has bytes.
template <typename Point, unsigned kBits>
Point spread(unsigned packed, const float* levels) noexcept {
  Point point = 0;
  for (unsigned j = 0; j < sizeof(Point); ++j) {
    const float level = levels[packed >> (kBits * j) & ((1U << kBits) - 1)];
    point |= Point{static_cast<std::uint8_t>(static_cast<int>(level))} << (8 * j);
  }
  return point;
}

template <unsigned kBits, typename Point, std::size_t N>
void spread_grid(const std::uint16_t (&grid)[N], const float* levels, Point (&points)[N]) noexcept {
  for (std::size_t i = 0; i < N; ++i) points[i] = spread<Point, kBits>(grid[i], levels);
}

std::uint64_t spread_signs(unsigned signs) noexcept {
  std::uint64_t bytes = 0;
  for (unsigned j = 0; j < 8; ++j) bytes |= std::uint64_t{(signs >> j & 1) != 0 ? 0xFFU : 0U} << (8 * j);
  return bytes;
}

IqTables make_tables() noexcept {
  IqTables tables;
  spread_grid<2>(scalar::kIQ1Grid, scalar::kIQ1Levels, tables.iq1);
  spread_grid<2>(scalar::kIQ2XXSGrid, scalar::kIQ2Levels, tables.iq2_xxs);
  spread_grid<2>(scalar::kIQ2XSGrid, scalar::kIQ2Levels, tables.iq2_xs);
  spread_grid<2>(scalar::kIQ2SGrid, scalar::kIQ2Levels, tables.iq2_s);
  spread_grid<3>(scalar::kIQ3XXSGrid, scalar::kIQ3XXSLevels, tables.iq3_xxs);
  spread_grid<3>(scalar::kIQ3SGrid, scalar::kIQ3SLevels, tables.iq3_s);
  for (unsigned signs = 0; signs < 256; ++signs) tables.eight_signs[signs] = spread_signs(signs);
  for (unsigned signs = 0; signs < 128; ++signs) {
    tables.seven_signs[signs] = spread_signs(signs | (static_cast<unsigned>(std::popcount(signs)) & 1) << 7);
  }
  return tables;
}

}  // namespace

const IqTables& iq_tables() noexcept {
  static const IqTables kTables = make_tables();
  return kTables;
}

}  // namespace headrace::codec::kernels
