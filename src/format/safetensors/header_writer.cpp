#include "format/safetensors/header_writer.hpp"

#include "base/checked.hpp"
#include "format/header_bytes.hpp"
#include "format/printable.hpp"
#include "format/safetensors/header_json.hpp"
#include "format/safetensors/header_reader.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headrace::format::safetensors {
namespace {

constexpr std::uint64_t kAlignment = 8;  // of the data, as the reference pads its headers

[[noreturn]] void refuse(ErrorCode code, const TensorInfo& tensor, const std::string& file, std::string problem,
                         std::string expected = {}, std::string found = {}) {
  throw Error(
      code, std::move(problem),
      {.file = file, .tensor = printable(tensor.name), .expected = std::move(expected), .found = std::move(found)});
}

}  // namespace

void check(const TensorInfo& tensor, const std::string& file) {
  if (tensor.name == kMetadata) {
    refuse(ErrorCode::unsupported, tensor, file, "safetensors keeps this name for its metadata");
  }
  if (first_invalid_utf8(tensor.name) != tensor.name.size()) {
    refuse(ErrorCode::unsupported, tensor, file, "safetensors can't hold a name that is not valid UTF-8");
  }
  const std::optional<std::uint64_t> elements = base::checked_product(tensor.shape);
  const std::optional<std::uint64_t> bytes = elements ? bytes_of(tensor.dtype, *elements) : std::nullopt;
  if (!bytes) {
    refuse(ErrorCode::invalid_argument, tensor, file, "its size is no whole number of bytes, or doesn't fit 64 bits",
           {}, fmt::format("{} of {}", to_string(tensor.shape), name(tensor.dtype)));
  }
  if (*bytes != tensor.bytes) {
    refuse(ErrorCode::invalid_argument, tensor, file, "its size doesn't fit its type and shape",
           fmt::format("{} bytes", *bytes), fmt::to_string(tensor.bytes));
  }
}

namespace {

void check(const Metadata& metadata, const std::string& file) {
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    const std::string_view key = metadata.key(i);
    const std::optional<std::string_view> text = metadata.value(i).as_string();
    if (!text) {
      throw Error(ErrorCode::unsupported, fmt::format("safetensors can't hold the metadata '{}'", printable(key)),
                  {.file = file, .expected = "a string", .found = std::string(name(metadata.value(i).type()))});
    }
    if (first_invalid_utf8(key) != key.size() || first_invalid_utf8(*text) != text->size()) {
      throw Error(ErrorCode::unsupported, fmt::format("the metadata '{}' is not valid UTF-8", printable(key)),
                  {.file = file, .hint = "safetensors holds text only"});
    }
  }
}

// Sets the offsets, from the start of the data, and returns its size.
std::uint64_t place(std::span<TensorInfo> tensors, std::span<const std::uint32_t> data_order, const std::string& file) {
  if (!data_order.empty() && data_order.size() != tensors.size()) {
    throw Error(ErrorCode::invalid_argument, "the order of the data doesn't name every tensor", {.file = file});
  }
  std::vector<bool> placed(data_order.size());
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::size_t next = data_order.empty() ? i : data_order[i];
    if (!data_order.empty()) {
      if (next >= tensors.size() || placed[next]) {
        throw Error(ErrorCode::invalid_argument, "the order of the data doesn't name every tensor once",
                    {.file = file});
      }
      placed[next] = true;
    }
    TensorInfo& tensor = tensors[next];
    tensor.offset = end;
    const auto after = base::checked_add(end, tensor.bytes);
    if (!after) refuse(ErrorCode::invalid_argument, tensor, file, "the file's size doesn't fit 64 bits");
    end = *after;
  }
  return end;
}

}  // namespace

Layout lay_out(std::span<TensorInfo> tensors, std::span<const std::uint32_t> data_order, const Metadata& metadata,
               const std::string& file, const Allowance& allowance, std::uint64_t reserve) {
  check(metadata, file);
  for (const TensorInfo& tensor : tensors) check(tensor, file);
  const std::uint64_t data_bytes = place(tensors, data_order, file);

  ByteCounter counter;
  put_json(counter, tensors, metadata, 0);
  reserve = std::min(reserve, kMaxHeaderBytes + 1);  // more is too long in any case
  const std::uint64_t length = base::checked_round_up(counter.size() + reserve, kAlignment).value();
  if (length > kMaxHeaderBytes) {
    throw Error(ErrorCode::unsupported, "the safetensors header would be too long",
                {.file = file,
                 .expected = fmt::format("at most {} bytes", kMaxHeaderBytes),
                 .found = fmt::to_string(length),
                 .hint = "too many tensors or too much metadata for one safetensors file"});
  }
  Layout layout;
  allowance.require(8 + length);
  layout.header.resize(static_cast<std::size_t>(8 + length));
  ByteFiller filler(layout.header);
  filler.put(std::as_bytes(std::span(&length, 1)));
  put_json(filler, tensors, metadata, 0);
  filler.pad(length - counter.size(), ' ');

  const auto file_bytes = base::checked_add(8 + length, data_bytes);
  if (!file_bytes) throw Error(ErrorCode::invalid_argument, "the file's size doesn't fit 64 bits", {.file = file});
  for (TensorInfo& tensor : tensors) tensor.offset += 8 + length;
  layout.file_bytes = *file_bytes;
  return layout;
}

}  // namespace headrace::format::safetensors
