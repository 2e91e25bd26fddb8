// The grids of the IQ types with a byte for each coordinate, ready for vectors: spread out they take 26 KiB, so they
// are made from the packed ones at first use.
//
// Thread-safety: immutable once made; the first use may be on any thread.
#pragma once

#include <cstdint>

namespace headrace::codec::kernels {

/// Points as the values of their coordinates, signed bytes, the first lowest. And signs of eight numbers as bytes: all
/// bits of byte j set where number j is negative.
struct IqTables {
  std::uint64_t iq1[2048];
  std::uint64_t iq2_xxs[256];
  std::uint64_t iq2_xs[512];
  std::uint64_t iq2_s[1024];
  std::uint32_t iq3_xxs[256];
  std::uint32_t iq3_s[512];
  std::uint64_t seven_signs[128];  ///< the eighth makes the number of negative ones even
  std::uint64_t eight_signs[256];
};

const IqTables& iq_tables() noexcept;

}  // namespace headrace::codec::kernels
