#include "format/header.hpp"

#include "format/detect.hpp"
#include "format/gguf/header_reader.hpp"
#include "format/safetensors/header_reader.hpp"

#include <headrace/error.hpp>

namespace headrace::format {

Header read_header(const io::ByteSource& source, std::uint64_t memory) {
  switch (detect(source)) {
    case Kind::gguf: return gguf::read_header(source, memory);
    case Kind::safetensors: return safetensors::read_header(source, memory);
    default: break;
  }
  throw Error(ErrorCode::format, "this file has no header of its own",
              {.file = source.name(), .offset = 0, .expected = "safetensors or GGUF"});
}

}  // namespace headrace::format
