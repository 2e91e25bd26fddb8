// PyTorch checkpoints: zip files since 1.6, runs of pickles before.
#pragma once

#include "format/contents.hpp"
#include "format/zip/archive.hpp"

#include <memory>

namespace headrace::format::torch {

/// True when the archive has a data.pkl.
bool is_checkpoint(const zip::Archive& archive);

/// Throws Error: format, unsupported (naming the global that the pickle asks for), invalid_argument (--torch-key leads
/// nowhere, or is needed), budget, io.
Contents open_archive(const std::shared_ptr<const zip::Archive>& archive, const Opening& opening);
Contents open_legacy(SourcePtr source, const Opening& opening);

}  // namespace headrace::format::torch
