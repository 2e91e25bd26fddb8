// The header of a .npy file: what the bytes after it are.
#pragma once

#include <headrace/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace headrace::format::numpy {

/// The bytes that every header begins with: signature, version and length.
inline constexpr std::size_t kPreamble = 12;
/// As long as a header may be, preamble included. Those of plain arrays have 128 bytes, seldom more.
inline constexpr std::size_t kMostHeader = std::size_t{64} << 10;

struct ArrayHeader {
  DType dtype = DType::F32;
  bool big_endian = false;     // and of more than one byte
  bool fortran_order = false;  // the first dimension is the innermost one
  std::vector<std::uint64_t> shape;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;  // of the data
};

/// Where a header is, as errors say it.
struct HeaderPlace {
  const std::string& file;
  std::string array;         // its name
  std::uint64_t offset = 0;  // of its first byte in the file
};

/// The length of the header that begins with these kPreamble bytes, them included: at most kMostHeader.
/// Throws Error: format, unsupported.
std::size_t header_length(std::span<const std::byte> preamble, const HeaderPlace& place);

/// Reads a whole header: versions 1.0, 2.0 and 3.0, whose dictionary must have each of its three keys once and nothing
/// else. Throws Error(unsupported) for what no tensor can hold: objects, records, text, dates, wider numbers;
/// Error(format). Source: numpy.lib.format.
ArrayHeader parse_header(std::span<const std::byte> header, const HeaderPlace& place);

}  // namespace headrace::format::numpy
