// Pairs of metadata that a caller or a profile sets.
#pragma once

#include <headrace/plan.hpp>

namespace headrace::plan {

/// Puts the pair in the place of whatever has its key. Throws Error: unsupported (no text, for safetensors),
/// invalid_argument (a value that isn't of its type; a key that says how the file is written, or is of another type).
void set_override(const MetadataOverride& pair, Format to, Metadata& metadata);

}  // namespace headrace::plan
