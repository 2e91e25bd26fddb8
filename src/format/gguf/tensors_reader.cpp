#include "format/gguf/tensors_reader.hpp"

#include "base/checked.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <optional>
#include <utility>

namespace headrace::format::gguf {
namespace {

const char* hint_for_type(std::uint32_t id) {
  if (id == 4 || id == 5) return "Q4_2 and Q4_3 were given up in 2023; make the file anew from the original weights";
  if (id >= 31 && id <= 33) return "repacked Q4_0 is no longer stored in files; quantise again to Q4_0";
  if (id >= 36 && id <= 38) return "repacked IQ4_NL is no longer stored in files; quantise again to IQ4_NL";
  return "the file is newer than this build of Headrace, or damaged";
}

// These are the same in either byte order.
bool is_made_of_single_bytes(DType dtype) {
  return info(dtype).block_bytes == 1 || dtype == DType::MXFP4 || dtype == DType::NVFP4;
}

std::optional<DType> dtype_of_id(std::uint32_t id) {
  static const auto table = [] {
    std::array<std::optional<DType>, 64> by_id;
    for (const DTypeInfo& row : all_dtypes()) {
      if (row.gguf_id >= 0) by_id.at(static_cast<std::size_t>(row.gguf_id)) = row.dtype;
    }
    return by_id;
  }();
  return id < table.size() ? table[id] : std::nullopt;
}

}  // namespace

TensorTable TensorsReader::read(std::size_t count) {
  allowance_.require(held_ + TensorTable::memory_to_reserve(count));
  table_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) read_tensor();
  return std::move(table_);
}

void TensorsReader::read_tensor() {
  const std::uint64_t name_at = cursor_.position();
  read_name();
  TensorInfo tensor;
  tensor.name = name_;
  read_shape(tensor);
  read_type(tensor);
  set_bytes(tensor);
  read_offset(tensor);
  allowance_.require(held_ + name_.capacity() + table_.memory_while_adding(name_.size(), tensor.shape.size()));
  if (!table_.add(tensor)) fail(name_at, "two tensors have this name");
}

void TensorsReader::read_name() {
  name_.clear();
  const std::uint64_t at = cursor_.position();
  const std::uint64_t length = cursor_.u64("a tensor name's length");
  cursor_.require(length, "a tensor's name");
  allowance_.require(held_ + table_.memory() + name_.capacity() + length);
  name_.resize(static_cast<std::size_t>(length));
  cursor_.read(std::as_writable_bytes(std::span(name_)), "a tensor's name");
  // Programs in C see such a name end early, and then two tensors may share it.
  if (name_.find('\0') != std::string::npos) fail(at, "the tensor's name contains a NUL byte");
}

void TensorsReader::read_shape(TensorInfo& tensor) {
  const std::uint64_t rank_at = cursor_.position();
  const std::uint32_t rank = cursor_.u32("a tensor's rank", name_);
  if (rank > kMaxRankRead) {
    fail(rank_at, "the tensor has too many dimensions", fmt::format("at most {}", kMaxRankRead), fmt::to_string(rank));
  }
  std::uint64_t elements = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    const std::uint64_t at = cursor_.position();
    const std::uint64_t dimension = cursor_.u64("a tensor's dimensions", name_);
    const auto product = base::checked_mul(elements, dimension);
    if (dimension > kMaxCount || !product || *product > kMaxCount) {
      fail(at, "the tensor has too many elements", fmt::format("a product of at most {}", kMaxCount),
           fmt::format("{} elements times {}", elements, dimension));
    }
    shape_[rank - 1 - i] = dimension;  // innermost first in the file
    elements = *product;
  }
  tensor.shape = Shape(shape_.data(), rank);
  tensor.elements = elements;
}

void TensorsReader::read_type(TensorInfo& tensor) {
  const std::uint64_t at = cursor_.position();
  const std::uint32_t id = cursor_.u32("a tensor's type", name_);
  const std::optional<DType> dtype = dtype_of_id(id);
  if (!dtype) {
    fail(at, fmt::format("the tensor's type {} was removed or is unknown", id), "a type of ggml's", fmt::to_string(id),
         hint_for_type(id));
  }
  tensor.dtype = *dtype;
  if (cursor_.swapped() && !is_made_of_single_bytes(*dtype)) tensor.encoding = Encoding::byte_swapped;
}

void TensorsReader::set_bytes(TensorInfo& tensor) const {
  const DTypeInfo& type = info(tensor.dtype);
  if (tensor.row_elements() % type.block_elements != 0) {
    fail(cursor_.position() - 4, fmt::format("the tensor's rows are no whole blocks of {}", type.name),
         fmt::format("a multiple of {} elements", type.block_elements), fmt::to_string(tensor.row_elements()));
  }
  const std::optional<std::uint64_t> bytes = bytes_of(tensor.dtype, tensor.elements);
  if (!bytes || *bytes > kMaxCount) {
    fail(cursor_.position() - 4, "the tensor's size doesn't fit 63 bits", {},
         fmt::format("{} elements of {}", tensor.elements, type.name));
  }
  tensor.bytes = *bytes;
}

// ggml's reader wants each tensor exactly where the one before it ends, rounded up; so do we.
void TensorsReader::read_offset(TensorInfo& tensor) {
  const std::uint64_t at = cursor_.position();
  tensor.offset = cursor_.u64("a tensor's offset", name_);
  if (tensor.offset != expected_offset_) {
    fail(at, "the tensor doesn't begin where the one before it ends", fmt::format("offset {}", expected_offset_),
         fmt::to_string(tensor.offset));
  }
  const auto end = base::checked_add(tensor.offset, tensor.bytes);
  const auto next = end ? base::checked_round_up(*end, alignment_) : std::nullopt;
  if (!next || *next > kMaxCount) {
    fail(at, "the tensor's end doesn't fit 63 bits", {}, fmt::format("{} bytes at {}", tensor.bytes, tensor.offset));
  }
  expected_offset_ = *next;
}

void TensorsReader::fail(std::uint64_t at, std::string problem, std::string expected, std::string found,
                         std::string hint) const {
  throw Error(ErrorCode::format, std::move(problem),
              {.file = file_,
               .tensor = printable(name_),
               .offset = at,
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = std::move(hint)});
}

}  // namespace headrace::format::gguf
