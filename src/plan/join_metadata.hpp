// One list of metadata out of several.
#pragma once

#include <headrace/metadata.hpp>

#include <span>
#include <string>
#include <vector>

namespace headrace::plan {

/// The pairs on which all that have them agree, in their order. The others are left out and named in `notes`: a title
/// or a licence of one part would be wrong for the whole. What speaks of a file and not of the model (alignment,
/// recorded shapes, the numbers of a split) is left out silently.
Metadata join_metadata(std::span<const Metadata* const> parts, std::vector<std::string>& notes);

}  // namespace headrace::plan
