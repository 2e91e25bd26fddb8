#include "format/json_document.hpp"

#include "format/allowance.hpp"

#include <headrace/error.hpp>

#include <cstring>
#include <span>

namespace headrace::format {
namespace {

// What simdjson holds of a text when all is counted: the text, its list of marks, the tape and the strings. It reserves
// more, but touches no page of that.
constexpr std::uint64_t kTimesTheText = 6;
constexpr std::size_t kMaxDepth = 64;

}  // namespace

JsonDocument::JsonDocument(const io::ByteSource& source, std::uint64_t memory)
    : file_(source.name()), memory_(source.size() * kTimesTheText), parser_(kMaxBytes) {
  if (source.size() > kMaxBytes) {
    throw Error(ErrorCode::format, "the JSON is too long to be an index or a manifest",
                {.file = file_,
                 .expected = "at most " + std::to_string(kMaxBytes) + " bytes",
                 .found = std::to_string(source.size())});
  }
  Allowance(file_, memory).require(memory_);
  const std::size_t size = static_cast<std::size_t>(source.size());
  const auto text = std::make_unique_for_overwrite<char[]>(size + simdjson::SIMDJSON_PADDING);
  source.read_at(0, std::as_writable_bytes(std::span(text.get(), size)));
  std::memset(text.get() + size, 0, simdjson::SIMDJSON_PADDING);
  auto error = parser_.allocate(size, kMaxDepth);
  if (!error) error = parser_.parse(text.get(), size, false).get(root_);
  if (error)
    throw Error(ErrorCode::format, "this is no valid JSON", {.file = file_, .found = simdjson::error_message(error)});
}

}  // namespace headrace::format
