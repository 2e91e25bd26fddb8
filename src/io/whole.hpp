// A stream's bytes, all of them in memory.
#pragma once

#include "io/byte_source.hpp"

#include <cstdint>
#include <memory>

namespace headrace::io {

/// Reads `stream` from its beginning to its end; the result is read by position, and keeps the stream's name.
/// Throws Error: budget as soon as there are more than `most` bytes, and what reading throws.
std::shared_ptr<const ByteSource> read_whole(const ByteSource& stream, std::uint64_t most);

}  // namespace headrace::io
