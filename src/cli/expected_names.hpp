// The names that --strict expects.
#pragma once

#include <headrace/checkpoint.hpp>

#include <string>
#include <vector>

namespace headrace::cli {

/// From a text file, one name a line (empty lines don't count, neither does a carriage return at a line's end), or
/// those of the tensors of another checkpoint. A file or a pipe is text when its first bytes hold no zero and it
/// doesn't begin as a JSON object; folders and URLs are checkpoints. Throws Error: io, and as Checkpoint::open.
std::vector<std::string> expected_names(const std::string& location, const OpenOptions& options);

}  // namespace headrace::cli
