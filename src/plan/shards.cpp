#include "plan/shards.hpp"

#include "format/gguf/gguf.hpp"
#include "format/json_text.hpp"

#include <fmt/format.h>

#include <optional>
#include <string_view>

namespace headrace::plan {
namespace {

struct TextSink {
  std::string& text;
  void put(std::string_view more) { text += more; }
};

template <typename Number>
void set_number(Metadata& metadata, std::string_view key, ValueType type, Number number) {
  metadata.set(key, type, std::as_bytes(std::span(&number, 1)));
}

}  // namespace

std::vector<std::size_t> cut_into_shards(std::span<const TensorInfo> tensors, std::uint64_t shard_bytes) {
  std::vector<std::size_t> counts{0};
  std::uint64_t bytes = 0;
  for (const TensorInfo& tensor : tensors) {
    if (counts.back() > 0 && (bytes > shard_bytes || tensor.bytes > shard_bytes - bytes)) {
      counts.push_back(0);
      bytes = 0;
    }
    ++counts.back();
    bytes += tensor.bytes;  // at most one tensor past a limit that fits 64 bits
  }
  return counts;
}

std::filesystem::path shard_path(const std::filesystem::path& output, Format to, std::size_t shard,
                                 std::size_t shards) {
  // A part of a GGUF is found by its name, and that ends in .gguf.
  const std::optional<Format> known = format_of_suffix(output);
  const std::string suffix = to == Format::gguf ? ".gguf" : output.extension().string();
  const std::string stem = to == Format::gguf && known != to ? output.filename().string() : output.stem().string();
  return output.parent_path() / fmt::format("{}-{:05}-of-{:05}{}", stem, shard + 1, shards, suffix);
}

std::filesystem::path index_path(const std::filesystem::path& output) {
  return output.parent_path() / (output.filename().string() + ".index.json");
}

std::string index_of(std::span<const TensorInfo> tensors, std::span<const std::filesystem::path> shards) {
  std::uint64_t total = 0;
  for (const TensorInfo& tensor : tensors) total += tensor.bytes;
  std::string text = fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{", total);
  TextSink sink{text};
  const char* between = "\n    ";
  for (const TensorInfo& tensor : tensors) {
    text += between;
    format::put_json_string(sink, tensor.name);
    text += ": ";
    format::put_json_string(sink, shards[tensor.file].filename().string());
    between = ",\n    ";
  }
  return text + "\n  }\n}\n";
}

Metadata metadata_of_part(const Metadata& metadata, std::size_t part, std::size_t parts, std::size_t tensors) {
  Metadata own;
  if (part == 0) {
    own = metadata;
  } else if (const auto alignment = metadata.find(format::gguf::kAlignmentKey)) {
    own.set(format::gguf::kAlignmentKey, alignment->type(), alignment->bytes());
  }
  set_number(own, "split.no", ValueType::u16, static_cast<std::uint16_t>(part));
  set_number(own, "split.count", ValueType::u16, static_cast<std::uint16_t>(parts));
  set_number(own, "split.tensors.count", ValueType::i32, static_cast<std::int32_t>(tensors));
  return own;
}

}  // namespace headrace::plan
