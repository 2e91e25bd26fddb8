// Where checkpoints come from, and what has to be said to open some of them.
#pragma once

#include <headrace/cancel.hpp>
#include <headrace/fetch.hpp>

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
  /// Where it is set, it opens every file, whatever its location says: nothing is looked for on disks or servers, no
  /// folder is listed, and `headers` and `connections` mean nothing. Called once for each file.
  Fetch fetch = {};
  /// TensorFlow.js: a folder or URL that takes the place of the manifest's own folder. It is put in front of each path
  /// of the manifest, with a '/' between where it doesn't end in one. Of hf://, owner/repo@revision/folder.
  std::string weight_path_prefix = {};
  /// TensorFlow.js: says where each file of weights is; wins over the prefix. Called from any thread; what it throws
  /// reaches the caller. Either of the two is Error(invalid_argument) for a checkpoint of another format.
  WeightUrlConverter weight_url_converter = {};
};

}  // namespace headrace
