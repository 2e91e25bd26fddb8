// LoadedTensor: memory that _loaded.py makes tensors of.
#include "loaded.hpp"

#include "bindings.hpp"
#include "dlpack.hpp"
#include "interrupts.hpp"
#include "plan.hpp"
#include "text.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace headrace::python {
namespace {

// The tensor's bytes, or their copy, on the host.
int host_buffer(PyObject* self, Py_buffer* view, int flags) noexcept {
  const LoadedTensor& tensor = nb::inst_ptr<Loaded>(self)->tensor;
  const std::span<std::byte> bytes = tensor.on_host() ? tensor.buffer.host_bytes() : tensor.host_copy.host_bytes();
  if (bytes.size() != tensor.bytes()) {
    view->obj = nullptr;
    PyErr_SetString(PyExc_BufferError, "the host has no copy of this tensor");
    return -1;
  }
  static std::byte nothing{};
  return PyBuffer_FillInfo(view, self, bytes.empty() ? &nothing : bytes.data(), static_cast<Py_ssize_t>(bytes.size()),
                           0, flags);
}

nb::object array_of(nb::handle self, bool raw, const std::vector<std::size_t>& shape) {
  const LoadedTensor& tensor = nb::inst_ptr<Loaded>(self)->tensor;
  const auto type = dlpack_type(raw ? DType::U8 : tensor.dtype);
  if (!type) return nb::none();
  const DLPackDevice where = tensor.buffer.device()->dlpack();
  void* const memory = reinterpret_cast<void*>(tensor.buffer.handle() + tensor.buffer.offset());
  return nb::cast(
      nb::ndarray<nb::array_api>(memory, shape.size(), shape.data(), self, nullptr, *type, where.type, where.id));
}

void download(const Loaded& loaded, std::uintptr_t address, std::uint64_t bytes) {
  const Buffer& buffer = loaded.tensor.buffer;
  const std::span out(reinterpret_cast<std::byte*>(address), static_cast<std::size_t>(bytes));
  const GilReleased released;
  buffer.device()->download(buffer, 0, out);
}

}  // namespace

void bind_loaded(nb::module_& module) {
  static std::array<PyType_Slot, 2> slots = {{{Py_bf_getbuffer, reinterpret_cast<void*>(host_buffer)}, {0, nullptr}}};
  using Self = Loaded;
  nb::class_<Self>(module, "LoadedTensor", nb::type_slots(slots.data()), nb::is_weak_referenceable(),
                   "A tensor in memory; a buffer of bytes where the host has them.")
      .def_prop_ro("name", [](const Self& self) { return to_str(self.tensor.name); })
      .def_prop_ro("dtype", [](const Self& self) { return to_str(name(self.tensor.dtype)); })
      .def_prop_ro("shape", [](const Self& self) { return to_tuple(self.tensor.shape); })
      .def_prop_ro("nbytes", [](const Self& self) { return self.tensor.bytes(); })
      .def_prop_ro("index", [](const Self& self) { return self.tensor.index; })
      .def_prop_ro("device", [](const Self& self) { return to_str(self.tensor.buffer.device()->name()); })
      .def_prop_ro("on_host", [](const Self& self) { return self.tensor.on_host(); })
      .def_prop_ro("handle", [](const Self& self) { return self.tensor.buffer.handle(); })
      .def_prop_ro("has_host_bytes",
                   [](const Self& self) { return self.tensor.host_bytes().size() == self.tensor.bytes(); })
      .def_prop_ro("dlpack_device",
                   [](const Self& self) {
                     const DLPackDevice where = self.tensor.buffer.device()->dlpack();
                     return nb::make_tuple(where.type, where.id);
                   })
      .def("array", &array_of, nb::arg("raw"), nb::arg("shape"),
           "An object with __dlpack__ that is a view of it; None where DLPack can't say the type. raw: of uint8.")
      .def("download", &download, nb::arg("address"), nb::arg("nbytes"), "Copies its bytes to an address.");
}

}  // namespace headrace::python
