#include "format/json_document.hpp"

#include "format/allowance.hpp"

#include <headrace/error.hpp>

#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace headrace::format {
namespace {

// What simdjson holds of a text: its list of marks, the tape (two words a number or bracket, one a string) and the
// strings, beside the text itself. It reserves more, but touches no page of that.
std::uint64_t parsed_bytes(std::string_view text) {
  std::uint64_t values = 1, marks = 0, quotes = 0;
  for (const char c : text) {
    const bool opens = c == '{' || c == '[', between = c == ',' || c == ':';
    values += opens || between;
    marks += opens || between || c == '}' || c == ']';
    quotes += c == '"';
  }
  return 2 * text.size() + 16 * values + 4 * (marks + values + quotes) + 8 * quotes;
}
constexpr std::size_t kMaxDepth = 64;

}  // namespace

JsonDocument::JsonDocument(const io::ByteSource& source, std::uint64_t memory)
    : file_(source.name()), parser_(kMaxBytes) {
  if (source.size() > kMaxBytes) {
    throw Error(ErrorCode::format, "the JSON is too long to be an index or a manifest",
                {.file = file_,
                 .expected = "at most " + std::to_string(kMaxBytes) + " bytes",
                 .found = std::to_string(source.size())});
  }
  Allowance(file_, memory).require(source.size() + simdjson::SIMDJSON_PADDING);
  const std::size_t size = static_cast<std::size_t>(source.size());
  const auto text = std::make_unique_for_overwrite<char[]>(size + simdjson::SIMDJSON_PADDING);
  source.read_at(0, std::as_writable_bytes(std::span(text.get(), size)));
  std::memset(text.get() + size, 0, simdjson::SIMDJSON_PADDING);
  parse({text.get(), size}, memory);
}

JsonDocument::JsonDocument(std::string file, std::string_view text, std::uint64_t memory)
    : file_(std::move(file)), parser_(kMaxBytes) {
  parse(simdjson::padded_string(text), memory);
}

// `padded` may be read beyond its end, as simdjson does.
void JsonDocument::parse(std::string_view padded, std::uint64_t memory) {
  memory_ = parsed_bytes(padded);
  Allowance(file_, memory).require(memory_);
  auto error = parser_.allocate(padded.size(), kMaxDepth);
  if (!error) error = parser_.parse(padded.data(), padded.size(), false).get(root_);
  if (error)
    throw Error(ErrorCode::format, "this is no valid JSON", {.file = file_, .found = simdjson::error_message(error)});
}

}  // namespace headrace::format
