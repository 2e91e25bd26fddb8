// Reads GGUF headers (versions 2 and 3).
#pragma once

#include "format/header.hpp"

namespace headrace::format::gguf {

/// `source` starts with GGUF's magic. As headrace::format::read_header otherwise. Throws Error(unsupported) for other
/// versions and the other byte order.
Header read_header(const io::ByteSource& source, std::uint64_t memory);

}  // namespace headrace::format::gguf
