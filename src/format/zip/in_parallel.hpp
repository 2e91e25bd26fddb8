// Many small reads at once, where each is a request to a server.
#pragma once

#include "io/byte_source.hpp"

#include <cstddef>
#include <functional>

namespace headrace::format::zip {

/// Calls `work(i)` for each i below `count`: one after the other when `source` is a local file, else on as many threads
/// as it likes. What `work` throws ends it all; of several errors the one with the lowest i is thrown.
void in_parallel(const io::ByteSource& source, std::size_t count, const std::function<void(std::size_t)>& work);

}  // namespace headrace::format::zip
