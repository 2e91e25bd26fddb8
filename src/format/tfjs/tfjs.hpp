// TensorFlow.js: model.json or a bare manifest, and the files of weights beside it.
#pragma once

#include "format/contents.hpp"
#include "format/json_document.hpp"

namespace headrace::format::tfjs {

/// True for an object with a weightsManifest, and for an array.
bool is_manifest(const JsonDocument& document);

Contents open_manifest(const JsonDocument& document, const Opening& opening);

}  // namespace headrace::format::tfjs
