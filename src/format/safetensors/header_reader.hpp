// Reads safetensors headers.
#pragma once

#include "format/header.hpp"

#include <cstdint>

namespace headrace::format::safetensors {

/// The reference refuses longer headers, so nobody writes them.
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

/// As headrace::format::read_header. The whole JSON is held while it is read, with its index about 7 bytes for each of
/// its bytes, and given back at the end.
Header read_header(const io::ByteSource& source, std::uint64_t memory);

}  // namespace headrace::format::safetensors
