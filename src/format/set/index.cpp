#include "format/set/index.hpp"

#include "format/printable.hpp"
#include "format/set/members.hpp"
#include "format/set/mention.hpp"
#include "format/set/set.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace headrace::format::set {
namespace {

// Whatever follows is said of the first of many.
std::string_view first_of(const Mention& mention) { return mention.count() > 1 ? ", the first" : ""; }

// Every tensor that was found must be where the map says.
void check_found(const WeightMap& map, const Joiner& joiner) {
  Mention unlisted;
  const TensorInfo* first = nullptr;
  for (const TensorInfo& tensor : joiner.tensors().tensors()) {
    const WeightMap::Entry* entry = map.find(tensor.name);
    if (!entry) {
      if (!first) first = &tensor;
      unlisted.add(tensor.name);
    }
  }
  if (!first) return;
  throw Error(ErrorCode::format, "a shard has tensors that the index doesn't list",
              {.file = map.name(),
               .tensor = printable(first->name),
               .found = fmt::format("{}{} in '{}'", unlisted.text(), first_of(unlisted), joiner.file_of(*first)),
               .hint = "the index and the shards aren't of one set"});
}

// And every tensor of the map must have been found.
void check_missing(const WeightMap& map, const Joiner& joiner) {
  if (joiner.tensors().tensors().size() == map.entries().size()) return;  // all of those are listed, each once
  Mention missing;
  const WeightMap::Entry* first = nullptr;
  for (const WeightMap::Entry& entry : map.entries()) {
    if (joiner.tensors().find(entry.tensor)) continue;
    if (!first) first = &entry;
    missing.add(entry.tensor);
  }
  const std::string file = printable(map.files()[first->file]);
  throw Error(ErrorCode::format, "the shards lack tensors that the index lists",
              {.file = map.name(),
               .tensor = printable(first->tensor),
               .expected = fmt::format("{}{} in '{}'", missing.text(), first_of(missing), file),
               .hint = "the index and the shards aren't of one set"});
}

// A shard's tensors, before they are joined: those that the map has elsewhere.
void check_places(const WeightMap& map, std::size_t file, const Contents& shard) {
  for (const TensorInfo& tensor : shard.header.tensors.tensors()) {
    const WeightMap::Entry* entry = map.find(tensor.name);
    if (!entry || entry->file == file) continue;
    throw Error(ErrorCode::format, "the tensor isn't in the file that the index says",
                {.file = map.name(),
                 .tensor = printable(tensor.name),
                 .expected = fmt::format("'{}'", printable(map.files()[entry->file])),
                 .found = fmt::format("'{}'", printable(map.files()[file]))});
  }
}

// A shard that is a set in its turn would be read as something that it alone isn't.
Contents open_shard(const std::string& file, const Opening& opening, std::uint64_t memory, const std::string& index) {
  Contents shard = open_member(opening.location.beside(file), opening, memory, index);
  if (shard.header.format == Format::gguf && parts_of(shard.header) > 1) {
    throw Error(ErrorCode::unsupported, "a part of a split GGUF can't be a shard",
                {.file = shard.files.front()->name(), .hint = "give this file alone: its parts are found from it"});
  }
  return shard;
}

}  // namespace

bool is_index(const JsonDocument& document) {
  simdjson::dom::object root;
  return !document.root().get(root) && !root["weight_map"].error();
}

Contents join_shards(const WeightMap& map, std::uint64_t memory, std::uint64_t others, unsigned at_once,
                     const OpenShard& open) {
  Joiner joiner(map.name(), memory, others);
  joiner.reserve(map.entries().size());
  join_members(
      joiner, map.files().size(), at_once,
      [&](std::size_t i, std::uint64_t left) { return open(map.files()[i], left); },
      [&](std::size_t i, Contents shard) {
        check_places(map, i, shard);
        joiner.add(std::move(shard));
      });
  check_found(map, joiner);
  check_missing(map, joiner);
  return std::move(joiner).take(KeptPairs::of_any);
}

Contents open_index(const JsonDocument& document, const Opening& opening) {
  const WeightMap map(document, opening.memory);
  require_files(opening, map.files(), map.name());
  return join_shards(
      map, opening.memory, document.memory() + map.memory(), opened_at_once(opening),
      [&](const std::string& file, std::uint64_t left) { return open_shard(file, opening, left, map.name()); });
}

}  // namespace headrace::format::set
