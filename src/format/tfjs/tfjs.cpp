#include "format/tfjs/tfjs.hpp"

#include "format/tfjs/manifest_reader.hpp"

namespace headrace::format::tfjs {

Contents open_manifest(const JsonDocument& document, const Opening& opening) {
  return read_manifest(document, opening.memory, [&opening](std::string_view path) {
    return io::open(opening.location.beside(path), opening.options);
  });
}

}  // namespace headrace::format::tfjs
