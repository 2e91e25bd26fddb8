// What a caller declared of a map's tensors, and what is there.
#pragma once

#include <headrace/disk_map.hpp>

#include <span>
#include <string>

namespace headrace::residency {

/// See DiskMap::require. `file`: named in the error.
void require(const DiskMap& map, std::span<const TensorSpec> specs, const std::string& file);

}  // namespace headrace::residency
