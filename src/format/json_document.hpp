// JsonDocument: a small JSON file, read whole.
#pragma once

#include "io/byte_source.hpp"

#include <simdjson.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace headrace::format {

/// For indexes and manifests, which are small beside the weights. Not for safetensors headers, whose rules are
/// stricter than a JSON parser's. Names that are there twice are both seen when an object is walked.
class JsonDocument {
 public:
  static constexpr std::uint64_t kMaxBytes = 100'000'000;

  /// Throws Error: format (no JSON, or too long), budget (it doesn't fit `memory` bytes), io.
  JsonDocument(const io::ByteSource& source, std::uint64_t memory);
  /// A text that is in memory already; `file`: as errors call it.
  JsonDocument(std::string file, std::string_view text, std::uint64_t memory);

  const std::string& file() const noexcept { return file_; }
  simdjson::dom::element root() const noexcept { return root_; }
  /// Bytes held, at most.
  std::uint64_t memory() const noexcept { return memory_; }

 private:
  void parse(std::string_view padded, std::uint64_t memory);

  std::string file_;
  std::uint64_t memory_ = 0;
  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

}  // namespace headrace::format
