// Reads the JSON of a safetensors header.
#pragma once

#include "format/allowance.hpp"
#include "format/header.hpp"
#include "io/byte_source.hpp"

#include <cstddef>

namespace headrace::format::safetensors {

/// Reads `length` bytes of JSON from offset 8 on. Tensors keep the order of the JSON, and the offsets it states: in the
/// data, not in the file, and not yet checked against each other.
Header read_json(const io::ByteSource& source, std::size_t length, const Allowance& allowance);

}  // namespace headrace::format::safetensors
