// The devices of this machine.
#include "bindings.hpp"
#include "interrupts.hpp"
#include "text.hpp"

#include <headrace/bytes.hpp>
#include <headrace/device.hpp>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

namespace headrace::python {
namespace {

std::vector<DeviceInfo> devices() {
  const CancelToken cancel;  // drivers can't be stopped; what they are asked is brief
  return interruptibly(cancel, [] { return list_devices(); });
}

nb::object repr_of(const DeviceInfo& device) {
  std::string text = "<headrace.DeviceInfo " + device.name + ": " + device.description + ", ";
  return to_str(text + format_bytes(device.memory.total) + ">");
}

}  // namespace

void bind_devices(nb::module_& module) {
  using Info = DeviceInfo;
  nb::class_<Info>(module, "DeviceInfo", "A device that tensors can be loaded to.")
      .def_prop_ro(
          "name", [](const Info& device) { return to_str(device.name); }, "\"host\", \"opencl:0\", \"cuda:0\".")
      .def_prop_ro(
          "kind", [](const Info& device) { return to_str(to_string(device.kind)); }, "\"host\", \"opencl\", \"cuda\".")
      .def_prop_ro(
          "description", [](const Info& device) { return to_str(device.description); }, "As its driver says it.")
      .def_prop_ro(
          "memory_total", [](const Info& device) { return device.memory.total; }, "Bytes.")
      .def_prop_ro(
          "memory_free", [](const Info& device) { return device.memory.free; },
          "Bytes; None where the driver can't say.")
      .def_prop_ro(
          "largest_buffer", [](const Info& device) { return device.memory.largest; },
          "Bytes that one tensor may have at most.")
      .def("__repr__", &repr_of);
  module.def("devices", &devices, "See headrace.devices.");
}

}  // namespace headrace::python
