#include "format/safetensors/growing_header.hpp"

#include "base/checked.hpp"
#include "format/header_bytes.hpp"
#include "format/printable.hpp"
#include "format/safetensors/header_json.hpp"
#include "format/safetensors/header_writer.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <utility>

namespace headrace::format::safetensors {
namespace {

constexpr std::uint64_t kLengthBytes = 8;  // of the number in front of the JSON

std::uint64_t json_bytes(std::span<const TensorInfo> tensors, const Metadata& metadata, std::uint64_t data) {
  ByteCounter counter;
  put_json(counter, tensors, metadata, data);
  return counter.size();
}

}  // namespace

GrowingHeader::GrowingHeader(const Layout& layout, std::span<const TensorInfo> tensors, const Metadata& metadata,
                             std::string file)
    : file_(std::move(file)),
      data_(layout.header.size()),
      end_(layout.file_bytes),
      blanks_(data_ - kLengthBytes - json_bytes(tensors, metadata, data_)) {}

void GrowingHeader::add(TensorInfo& tensor) {
  check(tensor, file_);
  tensor.offset = end_;
  const auto end = base::checked_add(end_, tensor.bytes);
  if (!end) {
    throw Error(ErrorCode::invalid_argument, "the file's size doesn't fit 64 bits",
                {.file = file_, .tensor = printable(tensor.name)});
  }
  ByteCounter counter;
  put_tensor(counter, tensor, data_);
  const std::uint64_t needed = counter.size() + 1;  // and a comma
  if (needed > blanks_) {
    throw Error(ErrorCode::invalid_argument, "the header has no room for another tensor",
                {.file = file_,
                 .tensor = printable(tensor.name),
                 .expected = fmt::format("at most {} bytes", blanks_),
                 .found = fmt::format("{} bytes", needed),
                 .hint = "reserve more of the header, or declare the tensor at the start"});
  }
  blanks_ -= needed;
  end_ = *end;
  grown_ = true;
}

std::vector<std::byte> GrowingHeader::bytes(std::span<const TensorInfo> tensors, const Metadata& metadata) const {
  std::vector<std::byte> header(static_cast<std::size_t>(data_));
  const std::uint64_t length = data_ - kLengthBytes;
  ByteFiller filler(header);
  filler.put(std::as_bytes(std::span(&length, 1)));
  put_json(filler, tensors, metadata, data_);
  filler.pad(length - json_bytes(tensors, metadata, data_), ' ');
  return header;
}

}  // namespace headrace::format::safetensors
