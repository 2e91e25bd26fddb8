// Where checkpoints come from, and what has to be said to open some of them.
#pragma once

#include <headrace/cancel.hpp>

#include <string>
#include <vector>

namespace headrace {

/// A location is a path, a folder, an https:// or http:// URL, hf://owner/repo/file[@revision], or "-" for the
/// standard input.
struct SourceOptions {
  std::string torch_key = {};             ///< a PyTorch checkpoint: the entry that holds the weights, "model" say
  std::string variant = {};               ///< a folder: take the files of this variant, "fp16" say
  std::vector<std::string> headers = {};  ///< a URL: "Name: value" for its own host, never for another one
  unsigned connections = 8;               ///< a URL: how many at once
  /// Ends every wait for these sources, while they are opened and after, with Error(cancelled). Copies of the options
  /// share it.
  CancelToken cancel = {};
};

}  // namespace headrace
