// Any bytes as the index of a sharded checkpoint, as a pipeline's model_index.json, and as the names in a folder.
//
// The shards are made from the index, so that an index without a fault of its own is accepted; the first byte says what
// is wrong with them. Whatever is accepted must hold exactly the tensors that the index lists.
#include "format/set/index.hpp"
#include "format/set/pipeline.hpp"
#include "format/set/set.hpp"
#include "format/set/weights_choice.hpp"
#include "io/location.hpp"
#include "support/memory_source.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::fuzz {
namespace {

constexpr std::uint64_t kMemory = std::uint64_t{32} << 20;

void require(bool truth) {
  if (!truth) std::abort();
}

/// What is wrong with the shards.
struct Faults {
  enum Kind : std::uint8_t { none, lacks_one, has_one_more, has_anothers, wants_memory, cant_be_read, kinds };
  Kind kind;
  std::size_t file;  // in which of them
  unsigned at_once;
};

Faults faults_of(std::uint8_t byte) {
  return {static_cast<Faults::Kind>(byte % Faults::kinds), std::size_t{byte} / Faults::kinds % 4, byte < 128 ? 1U : 3U};
}

/// The tensors that the map has in a file, with its fault.
format::Contents shard_of(const format::set::WeightMap& map, const std::string& file, const Faults& faults) {
  const auto number = static_cast<std::size_t>(std::ranges::lower_bound(map.files(), file) - map.files().begin());
  require(number < map.files().size() && io::stays_inside(file));
  const bool faulty = number == faults.file;
  if (faulty && faults.kind == Faults::cant_be_read) throw Error(ErrorCode::io, "can't open it", {.file = file});
  if (faulty && faults.kind == Faults::wants_memory) throw Error(ErrorCode::budget, "too little", {.file = file});
  format::Contents shard;
  bool left_one_out = false;
  for (const format::set::WeightMap::Entry& entry : map.entries()) {
    const bool here = entry.file == number || (faulty && faults.kind == Faults::has_anothers);
    if (!here) continue;
    if (faulty && faults.kind == Faults::lacks_one && !left_one_out) {
      left_one_out = true;
      continue;
    }
    TensorInfo tensor;
    tensor.name = entry.tensor;
    tensor.elements = 1;
    tensor.bytes = info(tensor.dtype).block_bytes;
    require(shard.header.tensors.add(tensor));
  }
  if (faulty && faults.kind == Faults::has_one_more) {
    TensorInfo tensor;
    tensor.name = "one more";
    shard.header.tensors.add(tensor);  // it may be listed, and there already
  }
  shard.header.metadata.set_string(faulty ? "file" : "format", file.substr(0, 1));
  shard.files.push_back(std::make_shared<test::MemorySource>("", file));
  return shard;
}

void require_same(const format::set::WeightMap& map, const format::Contents& joined) {
  require(joined.header.tensors.tensors().size() == map.entries().size());
  require(joined.files.size() == map.files().size());
  for (const format::set::WeightMap::Entry& entry : map.entries()) {
    require(map.find(entry.tensor) == &entry);
    const auto i = joined.header.tensors.find(entry.tensor);
    require(i && joined.header.tensors.tensors()[*i].file == entry.file);
    require(joined.files[entry.file]->name() == map.files()[entry.file]);
  }
  require(std::ranges::is_sorted(map.files()));
}

bool is_expected(const Error& error, const Faults& faults) {
  switch (error.code()) {
    case ErrorCode::format:
    case ErrorCode::unsupported:
    case ErrorCode::conflict: return true;
    case ErrorCode::budget: return faults.kind == Faults::wants_memory;
    case ErrorCode::io: return faults.kind == Faults::cant_be_read;
    default: return false;
  }
}

// Nothing when the bytes are no JSON.
std::unique_ptr<format::JsonDocument> parsed(std::string_view bytes) {
  try {
    return std::make_unique<format::JsonDocument>(test::MemorySource(std::string(bytes), "index"), kMemory);
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format || error.code() == ErrorCode::budget);
    return nullptr;
  }
}

void check_index(const format::JsonDocument& document, const Faults& faults) {
  if (!format::set::is_index(document)) return;
  std::optional<format::set::WeightMap> map;
  try {
    map.emplace(document, kMemory);
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format || error.code() == ErrorCode::unsupported);
    return;
  }
  try {
    const auto open = [&](const std::string& file, std::uint64_t) { return shard_of(*map, file, faults); };
    const format::Contents joined =
        format::set::join_shards(*map, kMemory, document.memory() + map->memory(), faults.at_once, open);
    require_same(*map, joined);
  } catch (const Error& error) {
    require(is_expected(error, faults) && faults.kind != Faults::none);
  }
}

void check_pipeline(const format::JsonDocument& document) {
  try {
    for (const format::set::Component& component : format::set::read_pipeline(document)) {
      require(io::stays_inside(component.folder) && component.folder.find('/') == std::string::npos);
      require(component.prefix.ends_with('.'));
    }
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format || error.code() == ErrorCode::conflict ||
            error.code() == ErrorCode::unsupported);
  }
}

// The first line is the variant, the others are names in a folder.
void check_folder(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < 64) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (lines.empty()) return;
  const std::string variant = lines.front();
  lines.erase(lines.begin());
  std::ranges::sort(lines);
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  for (const bool falls_back : {false, true}) {
    try {
      const auto choice = format::set::choose_weights("folder", lines, {variant, falls_back});
      if (!choice) continue;
      require(!choice->files.empty() && std::ranges::is_sorted(choice->files));
      for (const std::string& file : choice->files) require(std::ranges::binary_search(lines, file));
      require(choice->variant == variant || (falls_back && choice->variant.empty()));
    } catch (const Error& error) {
      require(error.code() == ErrorCode::format || error.code() == ErrorCode::invalid_argument);
    }
  }
}

}  // namespace
}  // namespace headrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace headrace::fuzz;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (const auto document = parsed(bytes)) {
    check_index(*document, faults_of(*data));
    check_pipeline(*document);
  } else {
    check_folder(bytes);
  }
  return 0;
}
