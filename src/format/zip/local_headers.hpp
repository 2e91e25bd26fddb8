// The header in front of each entry's data: only it says where the data begins.
#pragma once

#include "format/allowance.hpp"
#include "format/zip/directory.hpp"
#include "io/byte_source.hpp"

#include <cstdint>
#include <vector>

namespace headrace::format::zip {

/// Reads the local headers, of neighbours together, on several threads where the source isn't a local file. Each must
/// agree with the directory, and no entry may reach into the next one's header or the directory, which begins at
/// `directory_offset`. Sets the entries' data_offset and the directory's by_offset.
/// Throws Error: format, unsupported, budget, io.
void place_entries(const io::ByteSource& source, Directory& directory, std::vector<Placement> placements,
                   std::uint64_t directory_offset, const Allowance& allowance);

}  // namespace headrace::format::zip
