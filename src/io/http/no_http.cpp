// Stands in for libcurl in a build without it.
#include "io/http/http_source.hpp"

#include <headrace/error.hpp>

namespace headrace::io {

std::shared_ptr<const ByteSource> open_url(const Location& location, const SourceOptions&) {
  throw Error(ErrorCode::unsupported, "this build of Headrace can't read URLs",
              {.file = location.text(), .hint = "build it with -DHEADRACE_CURL=ON, or download the file first"});
}

}  // namespace headrace::io
