#include "format/safetensors/header_reader.hpp"

#include "base/checked.hpp"
#include "format/allowance.hpp"
#include "format/printable.hpp"
#include "format/safetensors/json_reader.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace headrace::format::safetensors {
namespace {

std::uint64_t read_length(const io::ByteSource& source) {
  const std::string& file = source.name();
  if (source.size() < 8) {
    throw Error(ErrorCode::format, "the file is too short for a safetensors header",
                {.file = file, .expected = "at least 8 bytes", .found = fmt::to_string(source.size())});
  }
  std::uint64_t length = 0;
  source.read_at(0, std::as_writable_bytes(std::span(&length, 1)));
  if (length > kMaxHeaderBytes) {
    throw Error(ErrorCode::format, "the safetensors header is too long",
                {.file = file,
                 .offset = 0,
                 .expected = fmt::format("at most {} bytes", kMaxHeaderBytes),
                 .found = fmt::to_string(length)});
  }
  if (length > source.size() - 8) {
    throw Error(ErrorCode::format, "the safetensors header goes past the end of the file",
                {.file = file,
                 .offset = 0,
                 .expected = fmt::format("at most {} bytes", source.size() - 8),
                 .found = fmt::to_string(length),
                 .hint = "the file is cut short or damaged"});
  }
  return length;
}

bool lies_before(const TensorInfo& a, const TensorInfo& b) {
  return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;  // empty ones first
}

// The tensors' numbers in the order of their data. Most files list them in that order already.
std::vector<std::uint32_t> data_order(std::span<const TensorInfo> tensors) {
  std::vector<std::uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0u);
  if (!std::is_sorted(tensors.begin(), tensors.end(), lies_before)) {
    std::sort(order.begin(), order.end(),
              [tensors](std::uint32_t a, std::uint32_t b) { return lies_before(tensors[a], tensors[b]); });
  }
  return order;
}

// An error about where a tensor lies; `offset` is the one that its entry states.
[[noreturn]] void misplaced(const Header& header, const TensorInfo& tensor, const std::string& file,
                            const char* problem, std::string expected, std::string found, const char* hint = "") {
  throw Error(ErrorCode::format, problem,
              {.file = file,
               .tensor = printable(tensor.name),
               .offset = base::checked_add(header.data_offset, tensor.offset),
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = hint});
}

// The data must be all tensors' bytes, each once: no hole where something could hide, no overlap. Then offsets in the
// data become offsets in the file.
void place(Header& header, std::uint64_t file_bytes, const std::string& file) {
  const std::span<TensorInfo> tensors = header.tensors.mutable_tensors();
  const std::uint64_t data_bytes = file_bytes - header.data_offset;
  std::uint64_t end = 0;
  for (const std::uint32_t i : data_order(tensors)) {
    const TensorInfo& tensor = tensors[i];
    if (tensor.offset != end) {
      misplaced(header, tensor, file,
                tensor.offset > end ? "there is a hole before the tensor's data"
                                    : "the tensor's data overlaps another tensor's",
                fmt::format("data offset {}", end), fmt::to_string(tensor.offset));
    }
    end += tensor.bytes;  // the end offset that the header states, so it can't wrap
    if (end > data_bytes) {
      misplaced(header, tensor, file, "the tensor's data goes past the end of the file",
                fmt::format("{} bytes of data", end), fmt::to_string(data_bytes), "the file is cut short or damaged");
    }
  }
  if (end != data_bytes && file_bytes != io::kUnknownSize) {  // else it shows when the stream ends
    throw Error(ErrorCode::format, "the file goes on after the data",
                {.file = file,
                 .offset = header.data_offset + end,
                 .expected = fmt::format("{} bytes of data", end),
                 .found = fmt::to_string(data_bytes)});
  }
  for (TensorInfo& tensor : tensors) tensor.offset += header.data_offset;
}

}  // namespace

Header read_header(const io::ByteSource& source, std::uint64_t memory) {
  const Allowance allowance(source.name(), memory);
  const std::uint64_t length = read_length(source);
  Header header = read_json(source, static_cast<std::size_t>(length), allowance);
  header.data_offset = 8 + length;
  allowance.require(header.memory() + header.tensors.tensors().size() * sizeof(std::uint32_t));
  place(header, source.size(), source.name());
  return header;
}

}  // namespace headrace::format::safetensors
