// A file on a web server, read by ranges; or as a stream where the server has none.
#pragma once

#include "io/byte_source.hpp"
#include "io/location.hpp"

#include <headrace/source.hpp>

#include <memory>

namespace headrace::io {

/// Asks the server for the first bytes of `location` and learns from its answer what it can do.
/// Throws Error(io) naming the status or what failed on the way; Error(unsupported) in a build without libcurl.
std::shared_ptr<const ByteSource> open_url(const Location& location, const SourceOptions& options);

}  // namespace headrace::io
