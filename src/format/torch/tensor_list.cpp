#include "format/torch/tensor_list.hpp"

#include "base/checked.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>

namespace headrace::format::torch {
namespace {

// The number of the last element that a view reaches, counted from the storage's begin; the view isn't empty.
std::optional<std::uint64_t> last_element(const RawTensor& tensor) {
  std::optional<std::uint64_t> last = tensor.offset;
  for (std::size_t i = 0; i < tensor.rank && last; ++i) {
    const auto way = base::checked_mul(tensor.shape()[i] - 1, tensor.strides()[i]);
    last = way ? base::checked_add(*last, *way) : std::nullopt;
  }
  return last;
}

// Row-major without holes. How far dimensions of size 1 stride doesn't matter. The number of elements is known to fit.
bool is_contiguous(const RawTensor& tensor) {
  std::uint64_t expected = 1;
  for (std::size_t i = tensor.rank; i-- > 0;) {
    if (tensor.shape()[i] == 1) continue;
    if (tensor.strides()[i] != expected) return false;
    expected *= tensor.shape()[i];
  }
  return true;
}

}  // namespace

TensorList::TensorList(Values& values, const std::string& file, FindPlace find_place)
    : values_(values), file_(file), find_place_(std::move(find_place)) {
  header_.format = Format::torch;
  header_.data_offset = std::numeric_limits<std::uint64_t>::max();
}

void TensorList::reserve(std::size_t tensors) {
  values_.hold(Holder::tensors, TensorTable::memory_to_reserve(tensors));
  header_.tensors.reserve(tensors);
}

void TensorList::refuse(std::string_view name, const RawTensor& tensor, ErrorCode code, std::string problem,
                        std::string expected, std::string found, std::string hint) const {
  throw Error(code, std::move(problem),
              {.file = file_,
               .tensor = printable(name),
               .offset = tensor.at,
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = std::move(hint)});
}

TensorList::Extent TensorList::extent_of(std::string_view name, const RawTensor& tensor) const {
  Extent extent;
  const std::uint64_t size = tensor.element->bytes;
  const auto elements = base::checked_product(tensor.shape());
  const auto bytes = elements ? base::checked_mul(*elements, size) : std::nullopt;
  if (!bytes)
    refuse(name, tensor, ErrorCode::format, "the tensor has too many elements", {}, to_string(tensor.shape()));
  extent.elements = *elements;
  extent.bytes = *bytes;
  if (*elements == 0) return extent;
  extent.contiguous = is_contiguous(tensor);
  const auto last = last_element(tensor);
  const auto end = last && *last != UINT64_MAX ? base::checked_mul(*last + 1, size) : std::nullopt;
  if (!end || *end > tensor.view->bytes) {
    refuse(name, tensor, ErrorCode::format, "the tensor goes past the end of its storage",
           fmt::format("at most {} bytes", tensor.view->bytes), end ? fmt::to_string(*end) : "more than 64 bits hold");
  }
  extent.first_byte = tensor.view->first_byte + tensor.offset * size;
  return extent;
}

void TensorList::add(std::string_view name, const RawTensor& tensor) {
  if (name.find('\0') != name.npos)
    refuse(name, tensor, ErrorCode::format, "the tensor's name contains a NUL byte");  // it would end there in C
  if (!tensor.element->dtype) {
    refuse(name, tensor, ErrorCode::unsupported, fmt::format("Headrace can't hold {} numbers", tensor.element->name),
           {}, {}, "save the tensor as another type");
  }
  if (tensor.conjugated || tensor.negated) {
    refuse(name, tensor, ErrorCode::unsupported,
           fmt::format("the tensor is stored before its '{}' is applied", tensor.conjugated ? "conj" : "neg"), {}, {},
           fmt::format("save resolve_{}() of it", tensor.conjugated ? "conj" : "neg"));
  }
  const Extent extent = extent_of(name, tensor);
  TensorInfo added;
  added.name = name;
  added.dtype = *tensor.element->dtype;
  added.elements = extent.elements;
  added.bytes = extent.bytes;
  added.encoding = extent.contiguous ? Encoding::plain : Encoding::strided;
  if (extent.elements > 0) {
    const Place place = find_place_(values_.storages()[tensor.view->storage], tensor.view->storage, name);
    added.file = place.file;
    added.offset = place.offset + extent.first_byte;
    header_.data_offset = std::min(header_.data_offset, added.offset);
  }

  std::array<std::uint64_t, 64> shape;
  std::ranges::copy(tensor.shape(), shape.begin());
  added.shape = std::span(shape).first(tensor.rank);
  if (added.dtype == DType::F4) {  // torch counts the pairs
    if (added.shape.empty() || !extent.contiguous) {
      refuse(name, tensor, ErrorCode::unsupported, "pairs of F4 numbers are read only where they lie in rows");
    }
    shape[added.shape.size() - 1] *= 2;
    added.elements *= 2;
  }

  TensorTable& table = header_.tensors;
  if (!extent.contiguous) stored_bytes_ += Header::kStoredBytes + added.shape.size() * sizeof(std::uint64_t);
  values_.hold(Holder::tensors, table.memory_while_adding(name.size(), added.shape.size()) + stored_bytes_);
  const auto number = static_cast<std::uint32_t>(table.tensors().size());
  if (number == TensorTable::kMaxTensors) refuse(name, tensor, ErrorCode::unsupported, "too many tensors");
  if (!table.add(added)) refuse(name, tensor, ErrorCode::format, "two tensors have this name");
  if (!extent.contiguous) {
    header_.stored.emplace(number, Strided{{tensor.strides().begin(), tensor.strides().end()}, false});
  }
}

Header TensorList::take() {
  if (header_.data_offset == std::numeric_limits<std::uint64_t>::max()) header_.data_offset = 0;
  return std::move(header_);
}

}  // namespace headrace::format::torch
