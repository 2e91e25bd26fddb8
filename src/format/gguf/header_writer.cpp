#include "format/gguf/header_writer.hpp"

#include "base/checked.hpp"
#include "format/gguf/gguf.hpp"
#include "format/header_bytes.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <bit>
#include <optional>
#include <utility>

namespace headrace::format::gguf {
namespace {

std::uint64_t alignment_of(const Metadata& metadata, const std::string& file) {
  const std::optional<MetadataValue> value = metadata.find(kAlignmentKey);
  if (!value) return kDefaultAlignment;
  const std::uint64_t alignment = value->as_u64().value_or(0);
  if (value->type() != ValueType::u32 || !std::has_single_bit(alignment)) {
    throw Error(ErrorCode::invalid_argument, "general.alignment must be a power of two of type u32",
                {.file = file, .found = fmt::format("{} of type {}", value->to_string(), name(value->type()))});
  }
  if (alignment > kMaxAlignmentWritten) {
    throw Error(ErrorCode::unsupported, "general.alignment is larger than Headrace writes",
                {.file = file,
                 .expected = fmt::format("at most {}", kMaxAlignmentWritten),
                 .found = fmt::to_string(alignment)});
  }
  return alignment;
}

[[noreturn]] void refuse(ErrorCode code, const TensorInfo& tensor, const std::string& file, std::string problem,
                         std::string expected, std::string found) {
  throw Error(
      code, std::move(problem),
      {.file = file, .tensor = printable(tensor.name), .expected = std::move(expected), .found = std::move(found)});
}

void check(const TensorInfo& tensor, const std::string& file) {
  const DTypeInfo& type = info(tensor.dtype);
  if (tensor.name.find('\0') != std::string_view::npos) {
    refuse(ErrorCode::unsupported, tensor, file, "GGUF can't hold a name that contains a NUL byte", {}, {});
  }
  if (tensor.shape.size() > kMaxRankWritten) {
    refuse(ErrorCode::unsupported, tensor, file, "GGUF can't hold that many dimensions",
           fmt::format("at most {}", kMaxRankWritten), fmt::to_string(tensor.shape.size()));
  }
  if (tensor.row_elements() % type.block_elements != 0) {
    refuse(ErrorCode::invalid_argument, tensor, file, fmt::format("its rows are no whole blocks of {}", type.name),
           fmt::format("a multiple of {}", type.block_elements), fmt::to_string(tensor.row_elements()));
  }
  std::uint64_t elements = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {  // innermost first, as readers multiply
    const auto product = base::checked_mul(elements, tensor.shape[i]);
    if (tensor.shape[i] > kMaxCount || !product || *product > kMaxCount) {
      refuse(ErrorCode::unsupported, tensor, file, "its number of elements doesn't fit 63 bits", {},
             to_string(tensor.shape));
    }
    elements = *product;
  }
  const std::optional<std::uint64_t> bytes = bytes_of(tensor.dtype, elements);
  if (!bytes || *bytes != tensor.bytes) {
    refuse(ErrorCode::invalid_argument, tensor, file, "its size doesn't fit its type and shape",
           bytes ? fmt::format("{} bytes", *bytes) : "a size that fits 64 bits", fmt::to_string(tensor.bytes));
  }
}

template <class Sink, class T>
void put_number(Sink& sink, T number) {
  sink.put(std::as_bytes(std::span(&number, 1)));
}

template <class Sink>
void put_string(Sink& sink, std::string_view text) {
  put_number(sink, std::uint64_t{text.size()});
  sink.put(text);
}

// `data`: where the tensors' bytes begin; their offsets in the header count from there.
template <class Sink>
void put_header(Sink& sink, std::span<const TensorInfo> tensors, const Metadata& metadata, std::uint64_t data) {
  put_number(sink, kMagic);
  put_number(sink, kVersion);
  put_number(sink, std::uint64_t{tensors.size()});
  put_number(sink, std::uint64_t{metadata.size()});
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    const MetadataValue value = metadata.value(i);
    put_string(sink, metadata.key(i));
    put_number(sink, static_cast<std::uint32_t>(value.type()));
    sink.put(value.bytes());
  }
  for (const TensorInfo& tensor : tensors) {
    put_string(sink, tensor.name);
    put_number(sink, static_cast<std::uint32_t>(tensor.shape.size()));
    for (std::size_t i = tensor.shape.size(); i-- > 0;) put_number(sink, tensor.shape[i]);
    put_number(sink, static_cast<std::uint32_t>(info(tensor.dtype).gguf_id));
    put_number(sink, tensor.offset - data);
  }
}

// Sets the offsets, from the start of the file, and returns the file's size.
std::uint64_t place(std::span<TensorInfo> tensors, std::uint64_t data, std::uint64_t alignment,
                    const std::string& file) {
  std::uint64_t next = data;
  for (TensorInfo& tensor : tensors) {
    tensor.offset = next;
    const auto end = base::checked_add(next, tensor.bytes);
    const auto padded = end ? base::checked_round_up(*end, alignment) : std::nullopt;
    if (!padded || *padded > kMaxCount) {
      refuse(ErrorCode::invalid_argument, tensor, file, "the file's size doesn't fit 63 bits", {}, {});
    }
    next = *padded;
  }
  return next;
}

}  // namespace

Layout lay_out(std::span<TensorInfo> tensors, const Metadata& metadata, const std::string& file,
               const Allowance& allowance) {
  const std::uint64_t alignment = alignment_of(metadata, file);
  for (const TensorInfo& tensor : tensors) check(tensor, file);
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    if (metadata.key(i).empty()) {
      throw Error(ErrorCode::unsupported, "GGUF can't hold a metadata key of no characters", {.file = file});
    }
  }
  ByteCounter counter;
  put_header(counter, tensors, metadata, 0);  // offsets take 8 bytes whatever they are
  const std::uint64_t data = base::checked_round_up(counter.size(), alignment).value();

  Layout layout;
  layout.alignment = alignment;
  layout.file_bytes = place(tensors, data, alignment, file);
  allowance.require(data);
  layout.header.resize(static_cast<std::size_t>(data));
  ByteFiller filler(layout.header);
  put_header(filler, tensors, metadata, data);
  filler.pad(data - filler.size(), 0);
  return layout;
}

}  // namespace headrace::format::gguf
