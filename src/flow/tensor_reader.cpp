#include "flow/tensor_reader.hpp"

#include "codec/affine.hpp"
#include "codec/byte_order.hpp"
#include "flow/strided.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <variant>

namespace headrace::flow {
namespace {

// The stored numbers lie at the end of `out` until they are decoded over themselves.
void read_affine(const io::ByteSource& file, const TensorInfo& tensor, const format::Affine& how,
                 std::uint64_t first_byte, std::span<std::byte> out) {
  const std::size_t size = info(tensor.dtype).block_bytes, stored_size = info(how.stored).block_bytes;
  const std::size_t n = out.size() / size;
  const auto stored = out.last(n * stored_size);
  file.read_at(tensor.offset + first_byte / size * stored_size, stored);
  codec::decode_affine(how.stored, how.scale, how.min, tensor.dtype, stored.data(), out.data(), n);
}

// Whole elements or blocks.
void read_blocks(const Checkpoint::Impl& source, const TensorInfo& tensor, std::uint64_t first_byte,
                 std::span<std::byte> out) {
  const io::ByteSource& file = source.file_of(tensor);
  switch (tensor.encoding) {
    case Encoding::plain: return file.read_at(tensor.offset + first_byte, out);
    case Encoding::byte_swapped:
      file.read_at(tensor.offset + first_byte, out);
      return codec::swap_byte_order(tensor.dtype, out);
    case Encoding::strided: {
      const auto& how = std::get<format::Strided>(source.header.stored_as(tensor));
      return read_strided(file, tensor, how, first_byte / info(tensor.dtype).block_bytes, out);
    }
    case Encoding::affine:
      return read_affine(file, tensor, std::get<format::Affine>(source.header.stored_as(tensor)), first_byte, out);
    case Encoding::joined:
    case Encoding::scaled: break;  // no checkpoint has such tensors; see MaterialReader
  }
}

}  // namespace

void read_tensor(const Checkpoint::Impl& source, const TensorInfo& tensor, std::uint64_t first_byte,
                 std::span<std::byte> out) {
  if (tensor.encoding == Encoding::plain || out.empty()) return read_blocks(source, tensor, first_byte, out);
  constexpr std::size_t kLargestBlock = 512;
  const std::size_t unit = info(tensor.dtype).block_bytes;
  std::array<std::byte, kLargestBlock> block;
  // A part of one block: the block is read whole and cut.
  const auto read_cut = [&](std::size_t skip, std::span<std::byte> part) {
    read_blocks(source, tensor, first_byte - skip, std::span(block).first(unit));
    std::memcpy(part.data(), block.data() + skip, part.size());
  };
  if (const std::size_t skip = first_byte % unit) {
    const auto part = out.first(std::min(out.size(), unit - skip));
    read_cut(skip, part);
    first_byte += part.size();
    out = out.subspan(part.size());
  }
  const std::size_t whole = out.size() / unit * unit;
  if (whole > 0) read_blocks(source, tensor, first_byte, out.first(whole));
  first_byte += whole;
  if (whole < out.size()) read_cut(0, out.subspan(whole));
}

}  // namespace headrace::flow
