// Shards that an index names.
#pragma once

#include "format/contents.hpp"
#include "format/set/weight_map.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace headrace::format::set {

/// Opens a file of the index in `memory` bytes; called from `at_once` threads where that is more than 1.
using OpenShard = std::function<Contents(const std::string& file, std::uint64_t memory)>;

/// Opens all files of the map and holds each tensor against it. `memory` bytes may be held, `others` of which are held
/// elsewhere (the map and its document). Throws Error: format, conflict, budget, and what `open` throws.
Contents join_shards(const WeightMap& map, std::uint64_t memory, std::uint64_t others, unsigned at_once,
                     const OpenShard& open);

}  // namespace headrace::format::set
