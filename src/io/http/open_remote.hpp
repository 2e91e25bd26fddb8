// The first request for a file, and what becomes of its answer.
#pragma once

#include "io/byte_source.hpp"
#include "io/http/remote.hpp"

#include <memory>

namespace headrace::io::http {

/// Opens what `remote` names: by ranges where the server has them, else as a stream over the answer that has begun,
/// which a small file is read from by position. `connections`: how many reads at once are worth it. Throws Error: io,
/// unsupported, cancelled.
std::shared_ptr<const ByteSource> open_remote(const std::shared_ptr<Remote>& remote, unsigned connections);

}  // namespace headrace::io::http
