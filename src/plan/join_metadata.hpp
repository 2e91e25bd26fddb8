// One list of metadata out of several.
#pragma once

#include <headrace/metadata.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::plan {

/// What one input brings.
struct MetadataPart {
  const Metadata* pairs;
  std::string_view file;
  bool is_whole;  ///< its names get no prefix: it is the model, the others are parts of it
};

/// The pairs of the whole models among the parts on which all that have them agree; without a whole model, the pairs
/// that every part has and that are the same in all. A title, a licence or a tokenizer of one part would be wrong for
/// the whole. What is left out is named in `notes`, but for what speaks of a file and not of the model (alignment,
/// recorded shapes, the numbers of a split).
Metadata join_metadata(std::span<const MetadataPart> parts, std::vector<std::string>& notes);

}  // namespace headrace::plan
