// NumPy's .npy and .npz.
#pragma once

#include "format/contents.hpp"
#include "format/zip/archive.hpp"

#include <memory>

namespace headrace::format::numpy {

/// One array; its tensor is named by the file, without ".npy".
Contents open_array(SourcePtr source, const Opening& opening);
/// An archive of arrays, each named by its entry without ".npy".
Contents open_archive(std::shared_ptr<const zip::Archive> archive, const Opening& opening);

}  // namespace headrace::format::numpy
