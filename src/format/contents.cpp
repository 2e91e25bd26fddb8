#include "format/contents.hpp"

#include "format/detect.hpp"
#include "format/gguf/header_reader.hpp"
#include "format/json_document.hpp"
#include "format/numpy/numpy.hpp"
#include "format/safetensors/header_reader.hpp"
#include "format/set/set.hpp"
#include "format/tfjs/tfjs.hpp"
#include "format/torch/torch.hpp"
#include "format/zip/archive.hpp"
#include "io/whole.hpp"

#include <headrace/error.hpp>

#include <optional>
#include <utility>

namespace headrace::format {
namespace {

Contents open_single(Header header, SourcePtr source) {
  Contents contents;
  contents.header = std::move(header);
  contents.files.push_back(std::move(source));
  return contents;
}

Contents open_gguf(SourcePtr source, const Opening& opening) {
  Header header = gguf::read_header(*source, opening.memory);
  const bool is_part = set::parts_of(header) > 1;
  Contents contents = open_single(std::move(header), std::move(source));
  return is_part ? set::open_split(std::move(contents), opening) : std::move(contents);
}

Contents open_zip(SourcePtr source, const Opening& opening) {
  const auto archive = std::make_shared<zip::Archive>(std::move(source), opening.memory);
  return torch::is_checkpoint(*archive) ? torch::open_archive(archive, opening) : numpy::open_archive(archive, opening);
}

Contents open_document(const JsonDocument& document, const Opening& opening) {
  if (set::is_index(document)) return set::open_index(document, opening);
  if (tfjs::is_manifest(document)) return tfjs::open_manifest(document, opening);
  throw Error(ErrorCode::format, "this JSON leads to no weights",
              {.file = document.file(),
               .expected = "an index of shards (weight_map) or a TensorFlow.js model (weightsManifest)",
               .hint = "give the file with the weights, or the folder that holds them"});
}

// A document that comes as a stream is held whole only until it is parsed.
JsonDocument read_document(const io::ByteSource& source, const Opening& opening) {
  if (source.access() == Access::random) return JsonDocument(source, opening.memory);
  const auto whole = io::read_whole(source, opening.memory / 2);
  return JsonDocument(*whole, opening.memory - whole->memory());
}

Contents open_json(SourcePtr source, const Opening& opening) {
  std::optional<io::FileId> id;
  if (const io::File* file = source->file()) id = file->id();
  const JsonDocument document = read_document(*source, opening);
  source = nullptr;  // a connection less, while others are made
  Contents contents = open_document(document, opening);
  if (id) contents.documents.push_back(*id);
  return contents;
}

// For what is read from more than one place, and for a document with nothing beside it.
void require_random_access(const io::ByteSource& source) {
  if (source.access() == Access::random) return;
  throw Error(ErrorCode::unsupported, "only safetensors and GGUF can be read from a stream",
              {.file = source.name(), .hint = "save it to a file first, and give that"});
}

}  // namespace

Contents open_contents(const Opening& opening) {
  const io::Location& location = opening.location;
  if (location.place() == io::Place::path && std::filesystem::is_directory(location.path()))
    return set::open_folder(opening);
  SourcePtr source = io::open(location, opening.options);
  const Kind kind = detect(*source);
  switch (kind) {
    case Kind::safetensors: {
      Header header = safetensors::read_header(*source, opening.memory);
      return open_single(std::move(header), std::move(source));
    }
    case Kind::gguf: return open_gguf(std::move(source), opening);
    default: break;
  }
  if (kind != Kind::json || location.place() == io::Place::standard_input) require_random_access(*source);
  switch (kind) {
    case Kind::zip: return open_zip(std::move(source), opening);
    case Kind::pickle: return torch::open_legacy(std::move(source), opening);
    case Kind::numpy: return numpy::open_array(std::move(source), opening);
    default: return open_json(std::move(source), opening);
  }
}

}  // namespace headrace::format
