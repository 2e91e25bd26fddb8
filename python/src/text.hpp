// Text between C++ and Python. Names in files are bytes that are nearly always UTF-8; those that aren't become lone
// surrogates, as Python does with the names of files, and come back as the bytes they were.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string>
#include <string_view>

namespace headrace::python {

namespace nb = nanobind;

inline nb::str to_str(std::string_view text) {
  PyObject* made = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape");
  if (made == nullptr) throw nb::python_error();
  return nb::steal<nb::str>(made);
}

/// Raises TypeError for what is no str.
inline std::string from_str(nb::handle text) {
  if (!PyUnicode_Check(text.ptr())) {
    throw nb::type_error(("expected a str, found " + std::string(nb::type_name(text.type()).c_str())).c_str());
  }
  PyObject* made = PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogateescape");
  if (made == nullptr) throw nb::python_error();
  const nb::bytes bytes = nb::steal<nb::bytes>(made);
  return {bytes.c_str(), bytes.size()};
}

/// Nothing for what no name can be: another type, or text that isn't UTF-8 even by way of surrogates.
inline std::optional<std::string> name_in(nb::handle text) {
  if (!PyUnicode_Check(text.ptr())) return std::nullopt;
  PyObject* made = PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogateescape");
  if (made == nullptr) {
    PyErr_Clear();
    return std::nullopt;
  }
  const nb::bytes bytes = nb::steal<nb::bytes>(made);
  return std::string(bytes.c_str(), bytes.size());
}

/// None for an empty text.
inline nb::object to_str_or_none(std::string_view text) { return text.empty() ? nb::none() : nb::object(to_str(text)); }

}  // namespace headrace::python
