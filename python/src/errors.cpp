// headrace::Error becomes the Python exception of its code, with every field.
#include "bindings.hpp"
#include "text.hpp"

#include <headrace/error.hpp>

namespace headrace::python {
namespace {

// The exception types are Python's own (_errors.py): they also derive from those that Python programs expect.
void raise(const Error& error) {
  const ErrorDetail& detail = error.detail();
  const nb::object make = nb::module_::import_("headrace._errors").attr("make");
  const nb::object made =
      make(to_string(error.code()), to_str(error.what()), to_str(error.problem()), to_str_or_none(detail.file),
           to_str_or_none(detail.tensor), detail.offset ? nb::cast(*detail.offset) : nb::none(),
           to_str_or_none(detail.expected), to_str_or_none(detail.found), to_str_or_none(detail.hint), detail.system);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
}

}  // namespace

void bind_errors(nb::module_&) {
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      try {
        raise(error);
      } catch (nb::python_error& failed) {
        failed.restore();
      }
    }
  });
}

}  // namespace headrace::python
