// Reads GGUF headers (versions 2 and 3), in either byte order.
#pragma once

#include "format/header.hpp"

namespace headrace::format::gguf {

/// `source` starts with GGUF's magic. As headrace::format::read_header otherwise. Throws Error(unsupported) for other
/// versions. Of a file in the other byte order, metadata is kept little-endian and the tensors are
/// Encoding::byte_swapped.
Header read_header(const io::ByteSource& source, std::uint64_t memory);

}  // namespace headrace::format::gguf
