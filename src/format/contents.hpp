// Contents: what was found at a location, its headers read and its files open.
#pragma once

#include "format/header.hpp"
#include "io/byte_source.hpp"
#include "io/file.hpp"
#include "io/location.hpp"

#include <headrace/source.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace headrace::format {

using SourcePtr = std::shared_ptr<const io::ByteSource>;

/// Tensors and the files they lie in. A tensor's `file` counts `files`.
struct Contents {
  Header header;
  std::vector<SourcePtr> files;
  std::vector<io::FileId> documents;  // files of this machine that led to these: indexes, manifests

  std::size_t memory() const noexcept;
};

/// What a reader of any format is told.
struct Opening {
  const io::Location& location;  ///< of the file that is being read; others lie beside it
  const SourceOptions& options;
  std::uint64_t memory;  ///< bytes that may be held at any time, the result included
};

/// Opens a location and reads what is there: one file or many, of any format.
Contents open_contents(const Opening& opening);

}  // namespace headrace::format
