// The end of a zip file, where reading begins: it says where the central directory is.
#pragma once

#include "io/byte_source.hpp"

#include <cstdint>

namespace headrace::format::zip {

/// Bytes of a record in the central directory, at least.
inline constexpr std::uint64_t kDirectoryRecord = 46;

struct EndRecord {
  std::uint64_t directory_offset = 0;
  std::uint64_t directory_bytes = 0;
  std::uint64_t entries = 0;  // at most what the directory's size allows
};

/// Finds and checks the end record, and the ZIP64 one where there is one. The directory lies inside the file and ends
/// where the end records begin, so bytes that were put before an archive without correcting its offsets are refused.
/// Throws Error: format, unsupported (an archive in several parts), io.
EndRecord read_end_record(const io::ByteSource& source);

}  // namespace headrace::format::zip
