#include "format/tfjs/tfjs.hpp"

#include "format/tfjs/manifest_reader.hpp"

#include <headrace/error.hpp>

#include <string>

namespace headrace::format::tfjs {
namespace {

// Beside the manifest, unless the caller knows better.
io::Location location_of(std::string_view path, const io::Location& manifest, const SourceOptions& options) {
  const io::Opener opener = io::opener_of(options);
  if (options.weight_url_converter) {
    std::string converted = options.weight_url_converter(std::string(path));
    if (!converted.empty()) return io::Location(std::move(converted), opener);
    throw Error(ErrorCode::invalid_argument, "weight_url_converter returned nothing",
                {.file = manifest.text(), .expected = "the location of '" + std::string(path) + "'"});
  }
  if (!options.weight_path_prefix.empty()) return io::below(options.weight_path_prefix, path, opener);
  return manifest.beside(path);
}

}  // namespace

Contents open_manifest(const JsonDocument& document, const Opening& opening) {
  const auto open = [manifest = opening.location, options = opening.options](std::string_view path,
                                                                             const CancelToken& cancel) {
    SourceOptions own = options;
    own.cancel = cancel;
    return io::open(location_of(path, manifest, options), own);
  };
  return read_manifest(document, opening.memory, open, opening.options.cancel);
}

}  // namespace headrace::format::tfjs
