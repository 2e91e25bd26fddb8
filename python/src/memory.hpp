// Memory that Python's side allocated, and memory that it asks for here.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace::python {

namespace nb = nanobind;

/// Large memory in large pages: it is filled with a fraction of the page faults, before which it must be said.
void advise_huge_pages(std::span<std::byte> memory) noexcept;

/// A contiguous, writable buffer of Python's, held for its life. Raises what the object raises when it is none.
class WritableBuffer {
 public:
  explicit WritableBuffer(nb::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_WRITABLE) != 0) throw nb::python_error();
  }
  ~WritableBuffer() { PyBuffer_Release(&view_); }
  WritableBuffer(const WritableBuffer&) = delete;
  WritableBuffer& operator=(const WritableBuffer&) = delete;

  std::span<std::byte> bytes() const noexcept {
    return {static_cast<std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

}  // namespace headrace::python
