#include "format/gguf/header_reader.hpp"

#include "base/checked.hpp"
#include "format/allowance.hpp"
#include "format/gguf/cursor.hpp"
#include "format/gguf/gguf.hpp"
#include "format/gguf/pairs_reader.hpp"
#include "format/gguf/tensors_reader.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <utility>

namespace headrace::format::gguf {
namespace {

struct Counts {
  std::uint64_t tensors = 0, pairs = 0;
};

// What machines with the other byte order write has the version's low half zero, seen from here.
bool is_swapped(std::uint32_t version) { return version != 0 && (version & 0xFFFF) == 0; }

// The magic number was looked at by the caller.
std::uint32_t read_version(Cursor& cursor, const std::string& file) {
  cursor.u32("the magic number");
  std::uint32_t version = cursor.u32("the version");
  if (is_swapped(version)) {
    cursor.set_swapped();
    version = __builtin_bswap32(version);
  }
  if (version == 2 || version == 3) return version;
  ErrorDetail detail{.file = file, .offset = 4, .expected = "2 or 3", .found = fmt::to_string(version)};
  if (version == 0) throw Error(ErrorCode::format, "the GGUF version is 0", std::move(detail));
  detail.hint = version == 1 ? "version 1 is obsolete; make the file anew with a current tool"
                             : "the file is newer than this build of Headrace, or damaged";
  throw Error(ErrorCode::unsupported, "this GGUF version can't be read", std::move(detail));
}

Counts read_counts(Cursor& cursor, const std::string& file) {
  Counts counts;
  counts.tensors = cursor.u64("the tensor count");
  counts.pairs = cursor.u64("the metadata count");
  const auto tensors = base::checked_mul(counts.tensors, kMinTensorBytes);
  const auto pairs = base::checked_mul(counts.pairs, kMinKeyValueBytes);
  if (!tensors || *tensors > cursor.left()) {
    throw Error(ErrorCode::format, "the file is too short for its number of tensors",
                {.file = file,
                 .offset = 8,
                 .expected = fmt::format("at most {}", cursor.left() / kMinTensorBytes),
                 .found = fmt::to_string(counts.tensors)});
  }
  if (!pairs || *pairs > cursor.left() - *tensors) {
    throw Error(ErrorCode::format, "the file is too short for its number of metadata pairs",
                {.file = file,
                 .offset = 16,
                 .expected = fmt::format("at most {}", (cursor.left() - *tensors) / kMinKeyValueBytes),
                 .found = fmt::to_string(counts.pairs)});
  }
  // What the indexes of names can number. Only a sparse file gets here.
  const auto cap = [&file](std::uint64_t count, std::uint64_t at, const char* problem) {
    if (count <= NameIndex::kMaxEntries) return;
    throw Error(ErrorCode::unsupported, problem,
                {.file = file,
                 .offset = at,
                 .expected = fmt::format("at most {}", NameIndex::kMaxEntries),
                 .found = fmt::to_string(count)});
  };
  cap(counts.tensors, 8, "too many tensors");
  cap(counts.pairs, 16, "too many metadata pairs");
  return counts;
}

// `at`: where the pair stands in the file.
std::uint64_t alignment_of(const Metadata& metadata, const std::string& file, std::uint64_t at) {
  const std::optional<MetadataValue> value = metadata.find(kAlignmentKey);
  if (!value) return kDefaultAlignment;
  const std::optional<std::uint64_t> alignment = value->as_u64();
  if (value->type() != ValueType::u32 || !alignment || !std::has_single_bit(*alignment)) {
    throw Error(
        ErrorCode::format, "general.alignment is not a power of two of type u32",
        {.file = file, .offset = at, .found = fmt::format("{} of type {}", value->to_string(), name(value->type()))});
  }
  return *alignment;
}

// Turns offsets in the data into offsets in the file. The padding after the last tensor may be missing.
void place(Header& header, std::uint64_t header_end, std::uint64_t file_bytes, const std::string& file) {
  const auto data = base::checked_round_up(header_end, header.alignment);
  header.data_offset = data.value_or(file_bytes);
  if (header.tensors.tensors().empty()) {
    header.data_offset = std::min(header.data_offset, file_bytes);  // some writers leave that padding out, too
    return;
  }
  for (TensorInfo& tensor : header.tensors.mutable_tensors()) {
    const auto begin = data ? base::checked_add(*data, tensor.offset) : std::nullopt;
    const auto end = begin ? base::checked_add(*begin, tensor.bytes) : std::nullopt;
    if (!end || *end > file_bytes) {
      throw Error(ErrorCode::format, "the tensor's data goes past the end of the file",
                  {.file = file,
                   .tensor = printable(tensor.name),
                   .offset = begin,
                   .expected = end ? fmt::format("a file of at least {} bytes", *end) : "an end within 64 bits",
                   .found = fmt::to_string(file_bytes),
                   .hint = "the file is cut short or damaged"});
    }
    tensor.offset = *begin;
  }
}

}  // namespace

Header read_header(const io::ByteSource& source, std::uint64_t memory) {
  const std::string& file = source.name();
  const Allowance allowance(file, memory);
  allowance.require(Cursor::kWindow);
  Cursor cursor(source);
  Header header;
  header.format = Format::gguf;
  header.version = read_version(cursor, file);
  const Counts counts = read_counts(cursor, file);
  {
    PairsReader pairs(cursor, file, allowance);  // its buffers go before the tensors come
    header.metadata = pairs.read(counts.pairs);
    header.alignment = alignment_of(header.metadata, file, pairs.alignment_at());
  }
  const std::uint64_t held = Cursor::kWindow + header.metadata.memory();
  header.tensors =
      TensorsReader(cursor, file, allowance, header.alignment, held).read(static_cast<std::size_t>(counts.tensors));
  place(header, cursor.position(), source.size(), file);
  return header;
}

}  // namespace headrace::format::gguf
