// A program's own fetch() and weight_url_converter() as the library's.
#pragma once

#include <headrace/source.hpp>

#include <nanobind/nanobind.h>

namespace headrace::python {

namespace nb = nanobind;

/// What `callable(location)` returns is read as a ByteStream: bytes and all that shows its memory (any thread, any
/// order); an object with read(n); or an iterable of pieces of bytes. Whichever thread reads takes the GIL for it, and
/// Python's exceptions reach the caller.
Fetch fetch_of(nb::object callable);

/// `callable(name)` must return a str.
WeightUrlConverter converter_of(nb::object callable);

}  // namespace headrace::python
