// The grids of ggml's IQ types.
//
// A grid is a list of points: the only groups of eight (or four) magnitudes that a type can express, out of 3^8 (8^4).
// A group of numbers is stored as the number of its point in the list, with a scale and, but for IQ1, signs from
// elsewhere. So the lists are part of the format; they follow from no rule and have to be written down.
//
// Here a point is packed, its first coordinate in the lowest bits: eight coordinates of 2 bits, which name the first,
// second or third magnitude of the type, or four of 3 bits. In all lists the packed points ascend.
//
// Source: ggml-common.h, iq1s_grid, iq2xxs_grid, iq2xs_grid, iq2s_grid, iq3xxs_grid, iq3s_grid, which hold the
// coordinates' values, one a byte.
#pragma once

#include <cstdint>

namespace headrace::codec::scalar {

extern const std::uint16_t kIQ1Grid[2048];  ///< IQ1_S and IQ1_M
extern const std::uint16_t kIQ2XXSGrid[256];
extern const std::uint16_t kIQ2XSGrid[512];
extern const std::uint16_t kIQ2SGrid[1024];
extern const std::uint16_t kIQ3XXSGrid[256];
extern const std::uint16_t kIQ3SGrid[512];

/// What the coordinates of a point stand for.
inline constexpr float kIQ1Levels[] = {-1, 0, 1};
inline constexpr float kIQ2Levels[] = {8, 25, 43};
inline constexpr float kIQ3XXSLevels[] = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr float kIQ3SLevels[] = {1, 3, 5, 7, 9, 11, 13, 15};

}  // namespace headrace::codec::scalar
