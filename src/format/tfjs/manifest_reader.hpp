// Reads a TensorFlow.js manifest of weights, wherever the files are that it names.
#pragma once

#include "format/contents.hpp"
#include "format/json_document.hpp"

#include <cstdint>
#include <functional>
#include <string_view>

namespace headrace::format::tfjs {

/// Opens a file by its path in the manifest, which has been found to stay inside.
using OpenFile = std::function<SourcePtr(std::string_view path)>;

/// Each group of the manifest becomes one file of the contents; its tensors are cut out of it in order.
/// `memory`: bytes that may be held in all, the document included. Throws Error: format, unsupported (a file that is a
/// stream), budget, and what `open` throws.
Contents read_manifest(const JsonDocument& document, std::uint64_t memory, const OpenFile& open);

}  // namespace headrace::format::tfjs
