// Checkpoint and its tensors: what _checkpoint.py and _tensor.py are made of.
#include "checkpoint.hpp"

#include "bindings.hpp"
#include "dlpack.hpp"
#include "interrupts.hpp"
#include "memory.hpp"
#include "metadata.hpp"
#include "options.hpp"
#include "text.hpp"

#include <headrace/bytes.hpp>
#include <headrace/checkpoint.hpp>
#include <headrace/mapping.hpp>
#include <headrace/retype.hpp>
#include <headrace/slice.hpp>

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace headrace::python {
namespace {

using Ranges = std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>>;

/// Reads of less than this end before anybody has pressed Ctrl-C, where no server is waited for.
constexpr std::size_t kShortRead = std::size_t{16} << 20;
constexpr std::size_t kWorthThreads = std::size_t{8} << 20;

/// A tensor that keeps its checkpoint open.
struct Entry {
  std::shared_ptr<const Opened> opened;
  const TensorInfo* info;
};

bool is_path(const std::string& location) { return location != "-" && location.find("://") == std::string::npos; }

std::shared_ptr<Opened> open(nb::handle where, std::optional<std::uint64_t> memory, std::string torch_key,
                             std::string variant, std::vector<std::string> headers, std::optional<unsigned> connections,
                             const nb::dict& places) {
  const std::string location = from_str(where);
  OpenOptions options;
  options.memory = memory.value_or(kDefaultMemory);
  options.source.torch_key = std::move(torch_key);
  options.source.variant = std::move(variant);
  options.source.headers = std::move(headers);
  options.source.connections = connections.value_or(options.source.connections);
  set_places(places, options.source);
  const bool waits = options.source.fetch || !is_path(location) || !is_path(options.source.weight_path_prefix) ||
                     options.source.weight_url_converter;
  const auto work = [&] {
    return std::make_shared<Opened>(Opened{Checkpoint::open(location, options), options.source.cancel, waits});
  };
  if (waits) return interruptibly(options.source.cancel, work);
  const GilReleased released;
  return work();
}

nb::tuple shape_of(const TensorInfo& tensor) {
  nb::tuple shape = nb::steal<nb::tuple>(PyTuple_New(static_cast<Py_ssize_t>(tensor.shape.size())));
  for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
    PyTuple_SET_ITEM(shape.ptr(), static_cast<Py_ssize_t>(d), PyLong_FromUnsignedLongLong(tensor.shape[d]));
  }
  return shape;
}

nb::str dtype_of(const TensorInfo& tensor) {
  const std::string_view text = name(tensor.dtype);
  return nb::str(text.data(), text.size());
}

std::vector<Range> region_of(const Entry& entry, const std::optional<Ranges>& ranges) {
  if (!ranges) return whole(entry.info->shape);
  std::vector<Range> region;
  for (const auto& [first, count, step] : *ranges) region.push_back({first, count, step});
  return region;
}

std::optional<DType> type_named(const std::optional<std::string>& text) {
  return text ? parse_dtype(*text) : std::nullopt;
}

void fill(const Entry& entry, const std::vector<Range>& region, std::optional<DType> as, std::span<std::byte> out) {
  advise_huge_pages(out);
  const bool waits = entry.opened->waits;
  SliceOptions options;
  options.as = as;
  options.nonfinite = Nonfinite::keep;
  options.threads = waits || out.size() >= kWorthThreads ? 0 : 1;
  if (waits) options.cancel = entry.opened->cancel;
  const auto work = [&] { read_slice(entry.opened->checkpoint, *entry.info, region, out, options); };
  if (waits || out.size() >= kShortRead) return interruptibly(options.cancel, work);
  const GilReleased released;
  work();
}

void read(const Entry& entry, std::uint64_t address, std::uint64_t size, const std::optional<Ranges>& ranges,
          const std::optional<std::string>& as) {
  auto* const memory = reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(address));
  fill(entry, region_of(entry, ranges), type_named(as), {memory, static_cast<std::size_t>(size)});
}

std::uint64_t size_of_slice(const Entry& entry, const std::optional<Ranges>& ranges,
                            const std::optional<std::string>& as) {
  return slice_bytes(*entry.info, region_of(entry, ranges), type_named(as));
}

/// An array in memory of its own, of no framework; None where DLPack has no name for the type.
nb::object array_of(const Entry& entry, const std::optional<std::string>& as) {
  const DType dtype = type_named(as).value_or(entry.info->dtype);
  const auto type = dlpack_type(dtype);
  if (!type) return nb::none();
  const std::vector<Range> region = whole(entry.info->shape);
  const auto bytes = static_cast<std::size_t>(slice_bytes(*entry.info, region, dtype));
  constexpr std::align_val_t kAlignment{64};  // as DLPack wants it
  auto* const memory = static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes, 1), kAlignment));
  const nb::capsule owner(memory, [](void* at) noexcept { ::operator delete(at, kAlignment); });
  fill(entry, region, dtype, {memory, bytes});
  const std::vector<std::size_t> shape(entry.info->shape.begin(), entry.info->shape.end());
  return nb::cast(
      nb::ndarray<nb::array_api>(memory, shape.size(), shape.data(), owner, nullptr, *type, nb::device::cpu::value));
}

nb::list names_of(const Opened& opened) {
  nb::list names;
  for (const TensorInfo& tensor : opened.checkpoint.tensors()) names.append(to_str(tensor.name));
  return names;
}

nb::list files_of(const Opened& opened) {
  nb::list files;
  for (std::size_t i = 0; i < opened.checkpoint.files(); ++i) files.append(to_str(opened.checkpoint.file(i)));
  return files;
}

std::uint64_t bytes_of_tensors(const Opened& opened) {
  const auto tensors = opened.checkpoint.tensors();
  return std::accumulate(tensors.begin(), tensors.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const TensorInfo& tensor) { return sum + tensor.bytes; });
}

// Everything that loading the whole needs to know, at once, in the order of the files' bytes, in which a stream has to
// be read: (index, name, dtype, shape, elements, file, offset), the offset None where a mapping of the file doesn't
// hold the tensor as it is.
nb::list layout_of(const Opened& opened) {
  const std::span<const TensorInfo> tensors = opened.checkpoint.tensors();
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return std::pair(tensors[i].file, tensors[i].offset); });
  nb::list rows;
  for (const std::size_t i : order) {
    const TensorInfo& tensor = tensors[i];
    rows.append(nb::make_tuple(i, to_str(tensor.name), dtype_of(tensor), shape_of(tensor), tensor.elements, tensor.file,
                               lies_plain(tensor) ? nb::cast(tensor.offset) : nb::none()));
  }
  return rows;
}

int mapping_buffer(PyObject* self, Py_buffer* view, int flags) noexcept {
  const std::span<std::byte> bytes = nb::inst_ptr<FileMapping>(self)->bytes();
  static std::byte nothing{};
  return PyBuffer_FillInfo(view, self, bytes.empty() ? &nothing : bytes.data(), static_cast<Py_ssize_t>(bytes.size()),
                           0, flags);
}

// Numbers that lie in memory, to memory. Sizes are checked.
void retype_memory(const std::string& from, std::uintptr_t source, std::size_t source_bytes, const std::string& to,
                   std::uintptr_t target, std::size_t target_bytes) {
  const auto from_type = parse_dtype(from), to_type = parse_dtype(to);
  if (!from_type || !to_type) throw nb::value_error("no such dtype");
  const GilReleased released;
  retype(*from_type, {reinterpret_cast<const std::byte*>(source), source_bytes}, *to_type,
         {reinterpret_cast<std::byte*>(target), target_bytes}, Nonfinite::keep);
}

void populate(const FileMapping& mapping) {
  const CancelToken cancel;
  interruptibly(cancel, [&] { mapping.populate(0, cancel); });
}

nb::object bytes_in(const nb::str& text) {
  const auto bytes = parse_bytes(from_str(text));
  return bytes ? nb::cast(*bytes) : nb::none();
}

nb::dict dtype_table() {
  nb::dict table;
  constexpr std::array kKinds = {"boolean", "integer", "floating", "complex", "block", "text"};
  for (const DTypeInfo& row : all_dtypes()) {
    table[nb::str(row.name.data(), row.name.size())] =
        nb::make_tuple(kKinds[static_cast<std::size_t>(row.kind)], row.block_elements, row.block_bytes,
                       can_read(row.dtype), can_make(row.dtype));
  }
  return table;
}

void bind_entry(nb::module_& module) {
  nb::class_<Entry>(module, "Entry", "A tensor in its checkpoint; see headrace.Tensor.")
      .def_prop_ro("name", [](const Entry& entry) { return to_str(entry.info->name); })
      .def_prop_ro("shape", [](const Entry& entry) { return shape_of(*entry.info); })
      .def_prop_ro("dtype", [](const Entry& entry) { return dtype_of(*entry.info); })
      .def_prop_ro("nbytes", [](const Entry& entry) { return entry.info->bytes; })
      .def_prop_ro("size", [](const Entry& entry) { return entry.info->elements; })
      .def_prop_ro("file", [](const Entry& entry) { return to_str(entry.opened->checkpoint.file(entry.info->file)); })
      .def("read", &read, nb::arg("address"), nb::arg("size"), nb::arg("ranges").none(), nb::arg("dtype").none(),
           "Fills `size` bytes at `address` with a region's numbers: (first, count, step) of each dimension, or all.")
      .def("slice_bytes", &size_of_slice, nb::arg("ranges").none(), nb::arg("dtype").none(),
           "Bytes that the region takes.")
      .def("read_into",
           [](const Entry& entry, nb::object buffer) {
             const WritableBuffer memory(buffer);
             fill(entry, whole(entry.info->shape), {}, memory.bytes());
           })
      .def("array", &array_of, nb::arg("dtype").none(),
           "An object with __dlpack__ in memory of its own; None where DLPack can't say the type.");
}

}  // namespace

void bind_checkpoint(nb::module_& module) {
  bind_entry(module);
  static std::array<PyType_Slot, 2> slots = {
      {{Py_bf_getbuffer, reinterpret_cast<void*>(mapping_buffer)}, {0, nullptr}}};
  nb::class_<FileMapping>(module, "FileMapping", nb::type_slots(slots.data()),
                          "A file as private, writable memory: a buffer of bytes.")
      .def("populate", &populate, "Brings all of it into memory.");
  nb::class_<Opened>(module, "Checkpoint", "An open checkpoint; see headrace.Checkpoint.")
      .def("__len__", [](const Opened& opened) { return opened.checkpoint.tensors().size(); })
      .def(
          "__contains__",
          [](const Opened& opened, nb::handle name) {
            const auto text = name_in(name);
            return text && opened.checkpoint.find(*text) != nullptr;
          },
          nb::arg("name").none())
      .def(
          "find",
          [](const std::shared_ptr<Opened>& opened, nb::handle name) -> std::optional<Entry> {
            const auto text = name_in(name);
            const TensorInfo* info = text ? opened->checkpoint.find(*text) : nullptr;
            return info == nullptr ? std::nullopt : std::optional(Entry{opened, info});
          },
          nb::arg("name").none(), "The tensor of that name, or None.")
      .def(
          "at",
          [](const std::shared_ptr<Opened>& opened, std::size_t i) {
            if (i >= opened->checkpoint.tensors().size()) throw nb::index_error();
            return Entry{opened, &opened->checkpoint.tensors()[i]};
          },
          "Tensor `i`, in the header's order.")
      .def("names", &names_of)
      .def("layout", &layout_of)
      .def(
          "map",
          [](const Opened& opened, std::size_t i) {
            return std::const_pointer_cast<FileMapping>(FileMapping::map(opened.checkpoint, i));
          },
          "File `i` as memory, or None where it is no file of this machine.")
      .def_prop_ro("metadata", [](const Opened& opened) { return to_dict(opened.checkpoint.metadata()); })
      .def_prop_ro("format",
                   [](const Opened& opened) {
                     const std::string_view text = name(opened.checkpoint.format());
                     return nb::str(text.data(), text.size());
                   })
      .def_prop_ro("location", [](const Opened& opened) { return to_str(opened.checkpoint.location()); })
      .def_prop_ro("files", &files_of)
      .def_prop_ro("nbytes", &bytes_of_tensors);
  module.def("open_checkpoint", &open, nb::arg("location"), nb::arg("memory").none(), nb::arg("torch_key"),
             nb::arg("variant"), nb::arg("headers"), nb::arg("connections").none(), nb::arg("places"));
  module.def("parse_bytes", &bytes_in, nb::arg("text"), "The bytes of \"256MiB\"; None for what is no such number.");
  module.def("retype", &retype_memory, "Converts numbers at one address, to another.");
  module.def("dtype_table", &dtype_table,
             "Of each dtype: its kind, the elements and bytes of a block, whether it can be read and made.");
}

}  // namespace headrace::python
