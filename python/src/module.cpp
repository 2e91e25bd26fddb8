// headrace._core: the C++ library as Python's package sees it.
#include "bindings.hpp"

#include <headrace/version.hpp>

NB_MODULE(_core, module) {
  nanobind::set_leak_warnings(false);  // a program may end with tensors in its hands
  module.def("version", [] { return headrace::version(); });
  headrace::python::bind_checkpoint(module);
  headrace::python::bind_errors(module);
  headrace::python::bind_interrupts(module);
  headrace::python::bind_writer(module);
  headrace::python::bind_metadata(module);
  headrace::python::bind_dtypes(module);
  headrace::python::bind_plan(module);
  headrace::python::bind_convert(module);
  headrace::python::bind_verify(module);
  headrace::python::bind_devices(module);
  headrace::python::bind_loaded(module);
  headrace::python::bind_stream(module);
  headrace::python::bind_disk_map(module);
}
