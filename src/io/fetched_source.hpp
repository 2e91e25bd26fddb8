// What a caller's own Fetch brings, as sources of bytes.
#pragma once

#include "io/byte_source.hpp"
#include "io/location.hpp"

#include <headrace/source.hpp>

#include <memory>

namespace headrace::io {

/// Asks `options.fetch`, which must be set, for the location. A stream without ranges becomes a ForwardSource.
/// Neither the caller's reads nor its exceptions are touched; but once `options.cancel` or interrupt() has spoken, no
/// further read begins: Error(cancelled). Throws Error(invalid_argument) for no stream, or one with ranges but no size.
std::shared_ptr<const ByteSource> open_fetched(const Location& location, const SourceOptions& options);

}  // namespace headrace::io
