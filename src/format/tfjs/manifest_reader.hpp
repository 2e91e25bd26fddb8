// Reads a TensorFlow.js manifest of weights, wherever the files are that it names.
#pragma once

#include "format/contents.hpp"
#include "format/json_document.hpp"

#include <headrace/cancel.hpp>

#include <cstdint>
#include <functional>
#include <string_view>

namespace headrace::format::tfjs {

/// Opens a file by its path in the manifest, which has been found to stay inside. Its waits end with `cancel`. Copies
/// are kept for as long as files that come only once are still to be opened.
using OpenFile = std::function<SourcePtr(std::string_view path, const CancelToken& cancel)>;

/// Each group of the manifest becomes one file of the contents; its tensors are cut out of it in order. From the first
/// file on that comes as a stream, files are opened only when they are read.
/// `memory`: bytes that may be held in all, the document included. `cancel`: for those files.
/// Throws Error: format, unsupported (text in a stream), budget, and what `open` throws.
Contents read_manifest(const JsonDocument& document, std::uint64_t memory, const OpenFile& open,
                       const CancelToken& cancel = {});

}  // namespace headrace::format::tfjs
