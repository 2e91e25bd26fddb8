#include "format/numpy/numpy.hpp"

#include "format/allowance.hpp"
#include "format/numpy/header.hpp"
#include "format/printable.hpp"
#include "format/zip/in_parallel.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headrace::format::numpy {
namespace {

constexpr std::string_view kSuffix = ".npy";
constexpr std::size_t kUsualHeader = 128;  // what NumPy pads its headers to

std::string_view without_suffix(std::string_view name) {
  if (name.ends_with(kSuffix)) name.remove_suffix(kSuffix.size());
  return name;
}

struct Array {
  ArrayHeader header;
  std::uint64_t data_at = 0;  // from where its header begins
};

// Reads the header of an array that has `size` bytes in all; `read` fills its argument with the first of them.
Array read_array(std::uint64_t size, const HeaderPlace& place, const std::function<void(std::span<std::byte>)>& read) {
  const auto refuse = [&](const char* problem, std::string expected, std::string found) {
    throw Error(ErrorCode::format, problem,
                {.file = place.file,
                 .tensor = printable(place.array),
                 .offset = place.offset,
                 .expected = std::move(expected),
                 .found = std::move(found),
                 .hint = "the file is cut short or damaged"});
  };
  if (size < kPreamble) refuse("the array is too short for a header", "at least 12 bytes", fmt::to_string(size));
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min<std::uint64_t>(size, kUsualHeader)));
  read(bytes);
  const std::size_t length = header_length(std::span(bytes).first(kPreamble), place);
  if (length > size)
    refuse("the array's header goes past its end", fmt::format("{} bytes", length), fmt::to_string(size));
  if (length > bytes.size()) {
    bytes.resize(length);
    read(bytes);
  }
  Array array{parse_header(std::span(bytes).first(length), place), length};
  if (array.header.bytes != size - length) {
    refuse("the array's data hasn't the size that its shape and type make", fmt::format("{} bytes", array.header.bytes),
           fmt::to_string(size - length));
  }
  return array;
}

// Of a Fortran-ordered array: how many elements lie between neighbours in each dimension.
std::vector<std::uint64_t> fortran_strides(const ArrayHeader& header) {
  std::vector<std::uint64_t> strides;
  std::uint64_t stride = 1;
  for (const std::uint64_t dim : header.shape) {
    strides.push_back(stride);
    stride *= dim;  // a part of a product that was checked
  }
  return strides;
}

// Collects arrays in the list of tensors.
class Collector {
 public:
  Collector(Contents& contents, std::string file, std::uint64_t memory, std::uint64_t others)
      : contents_(contents), allowance_(std::move(file), memory, others) {}

  // `begin`: where the array's header is in its file.
  void add(std::string_view name, const Array& array, std::uint64_t begin, std::uint32_t file) {
    constexpr std::size_t kFileBytes = 512;  // of a source of its own, about
    const ArrayHeader& header = array.header;
    Header& out = contents_.header;
    allowance_.require(out.tensors.memory_while_adding(name.size(), header.shape.size()) +
                       (out.stored.size() + 1) * Header::kStoredBytes + contents_.files.size() * kFileBytes);
    // With at most one dimension that is longer than 1, both orders are the same.
    const bool scattered = header.fortran_order && header.elements > 0 &&
                           std::ranges::count_if(header.shape, [](std::uint64_t dim) { return dim > 1; }) > 1;
    const auto number = static_cast<std::uint32_t>(out.tensors.tensors().size());
    TensorInfo tensor;
    tensor.name = name;
    tensor.shape = header.shape;
    tensor.elements = header.elements;
    tensor.offset = begin + array.data_at;
    tensor.bytes = header.bytes;
    tensor.dtype = header.dtype;
    tensor.encoding = scattered ? Encoding::strided : header.big_endian ? Encoding::byte_swapped : Encoding::plain;
    tensor.file = file;
    if (!out.tensors.add(tensor))
      throw Error(ErrorCode::format, "two arrays have one name",
                  {.file = contents_.files.front()->name(), .tensor = printable(name)});
    if (scattered) out.stored.emplace(number, Strided{fortran_strides(header), header.big_endian});
  }

 private:
  Contents& contents_;
  Allowance allowance_;
};

// What archivers add without being asked.
bool is_clutter(std::string_view name) {
  const std::string_view leaf = name.substr(name.rfind('/') + 1);
  return name.starts_with("__MACOSX/") || leaf == ".DS_Store";
}

std::vector<const zip::Entry*> arrays_of(const zip::Archive& archive, const std::string& file) {
  std::vector<const zip::Entry*> arrays;
  arrays.reserve(archive.entries().size());
  const zip::Entry* other = nullptr;
  for (const zip::Entry& entry : archive.entries()) {
    if (is_clutter(entry.name)) continue;
    if (entry.name.ends_with(kSuffix)) {
      arrays.push_back(&entry);
    } else if (!other) {
      other = &entry;
    }
  }
  if (arrays.empty()) {
    throw Error(ErrorCode::format, "this zip archive holds no weights",
                {.file = file,
                 .expected = "PyTorch's data.pkl or NumPy's .npy",
                 .found = other ? fmt::format("'{}'", printable(other->name)) : "nothing",
                 .hint = "if there is a checkpoint in it, unpack it first"});
  }
  if (other) {
    throw Error(ErrorCode::unsupported, "something in this archive of arrays is none",
                {.file = file,
                 .expected = "names that end in .npy",
                 .found = fmt::format("'{}'", printable(other->name)),
                 .hint = "remove it from the archive: Headrace leaves nothing out unasked"});
  }
  return arrays;
}

}  // namespace

Contents open_array(SourcePtr source, const Opening& opening) {
  const std::string leaf = opening.location.leaf();
  const HeaderPlace place{source->name(), std::string(without_suffix(leaf))};
  const Array array = read_array(source->size(), place, [&](std::span<std::byte> out) { source->read_at(0, out); });
  Contents contents;
  contents.header.format = Format::numpy;
  contents.header.data_offset = array.data_at;
  Collector(contents, source->name(), opening.memory, source->memory()).add(place.array, array, 0, 0);
  contents.files.push_back(std::move(source));
  return contents;
}

Contents open_archive(std::shared_ptr<const zip::Archive> archive, const Opening& opening) {
  constexpr std::size_t kBatch = 256;  // headers that are held at once
  const SourcePtr bytes = archive->bytes();
  const std::string& file = bytes->name();
  Allowance(file, opening.memory, bytes->memory()).require(archive->entries().size() * sizeof(void*));
  const std::vector<const zip::Entry*> entries = arrays_of(*archive, file);

  Contents contents;
  contents.header.format = Format::numpy;
  contents.files.push_back(bytes);
  Collector collector(contents, file, opening.memory, bytes->memory() + entries.size() * sizeof(void*));
  std::array<Array, kBatch> batch;
  for (std::size_t first = 0; first < entries.size(); first += kBatch) {
    const std::size_t count = std::min(kBatch, entries.size() - first);
    zip::in_parallel(*bytes, count, [&](std::size_t i) {
      const zip::Entry& entry = *entries[first + i];
      const HeaderPlace place{file, std::string(without_suffix(entry.name)), entry.data_offset};
      batch[i] = read_array(entry.bytes, place, [&](std::span<std::byte> out) { archive->read_start(entry, out); });
    });
    for (std::size_t i = 0; i < count; ++i) {
      const zip::Entry& entry = *entries[first + i];
      if (entry.deflated) contents.files.push_back(archive->inflated(entry));
      const auto number = static_cast<std::uint32_t>(entry.deflated ? contents.files.size() - 1 : 0);
      collector.add(without_suffix(entry.name), batch[i], entry.deflated ? 0 : entry.data_offset, number);
    }
  }
  if (contents.files.size() == 1)
    contents.header.data_offset = std::ranges::min(contents.header.tensors.tensors(), {}, &TensorInfo::offset).offset;
  return contents;
}

}  // namespace headrace::format::numpy
