// CheckpointWriter: told of tensors as Python has them, given addresses to write from.
#include "bindings.hpp"
#include "interrupts.hpp"
#include "metadata.hpp"
#include "text.hpp"

#include <headrace/error.hpp>
#include <headrace/writer.hpp>

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace headrace::python {
namespace {

// What one call brings is written in parts of so many bytes, so that Ctrl-C is heard between them.
constexpr std::uint64_t kMostAtOnce = std::uint64_t{256} << 20;

DType dtype_of(const std::string& name, const std::string& tensor) {
  if (const auto dtype = parse_dtype(name)) return *dtype;
  throw Error(ErrorCode::invalid_argument, "unknown dtype '" + name + "'",
              {.tensor = tensor, .hint = "BF16, F32, Q8_0, torch's names such as bfloat16"});
}

TensorSpec spec_of(nb::handle name, const std::string& dtype, const std::vector<std::uint64_t>& shape,
                   const std::optional<std::string>& from) {
  TensorSpec spec{from_str(name), DType::F32, shape};
  spec.dtype = dtype_of(dtype, spec.name);
  if (from) spec.from = dtype_of(*from, spec.name);
  return spec;
}

// Of (name, dtype, shape, type given or None).
std::vector<TensorSpec> specs_of(const nb::list& tensors) {
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const nb::handle tensor : tensors) {
    specs.push_back(spec_of(tensor[0], nb::cast<std::string>(tensor[1]),
                            nb::cast<std::vector<std::uint64_t>>(tensor[2]),
                            nb::cast<std::optional<std::string>>(tensor[3])));
  }
  return specs;
}

struct Options {
  std::optional<std::string> to;
  nb::dict metadata;
  const Metadata* source_metadata;  // in front of it; null: none
  bool force, keep_nonfinite;
  std::optional<std::uint64_t> shard_size, memory;
  std::uint64_t header_reserve;
  std::string temporary;
  unsigned threads;
};

WriterOptions options_of(const Options& given) {
  WriterOptions options;
  if (given.to) {
    options.to = parse_format(*given.to);
    if (!options.to) {
      throw Error(ErrorCode::invalid_argument, "unknown format '" + *given.to + "'",
                  {.expected = "safetensors or gguf"});
    }
  }
  options.metadata = given.source_metadata == nullptr ? Metadata() : *given.source_metadata;
  const Metadata own = from_dict(given.metadata);
  for (std::size_t i = 0; i < own.size(); ++i) {
    const MetadataValue value = own.value(i);
    options.metadata.set(own.key(i), value.type(), value.bytes());
  }
  options.force = given.force;
  options.shard_size = given.shard_size;
  options.header_reserve = given.header_reserve;
  options.temporary = given.temporary;
  options.nonfinite = given.keep_nonfinite ? Nonfinite::keep : Nonfinite::refuse;
  options.memory = given.memory.value_or(kDefaultMemory);
  options.threads = given.threads;
  return options;
}

// The bytes lie at `address` and stay there during the call: the caller holds what owns them.
void write_address(CheckpointWriter& writer, nb::handle name, std::uint64_t first_byte, std::uintptr_t address,
                   std::uint64_t bytes) {
  const std::string tensor = from_str(name);
  const auto* from = reinterpret_cast<const std::byte*>(address);
  std::uint64_t done = 0;
  do {
    const std::uint64_t some = std::min(bytes - done, kMostAtOnce);
    {
      const GilReleased released;
      writer.write_at(tensor, first_byte + done, std::span(from + done, static_cast<std::size_t>(some)));
    }
    done += some;
    check_signals();
  } while (done < bytes);
}

// Without a place: the whole tensor.
void write_buffer(CheckpointWriter& writer, nb::handle name, nb::handle buffer,
                  std::optional<std::uint64_t> first_byte) {
  Py_buffer view;
  if (PyObject_GetBuffer(buffer.ptr(), &view, PyBUF_SIMPLE) != 0) throw nb::python_error();
  struct Release {
    Py_buffer* view;
    ~Release() { PyBuffer_Release(view); }
  } release{&view};
  const std::string tensor = from_str(name);
  const auto size = static_cast<std::uint64_t>(view.len);
  if (first_byte || size > kMostAtOnce)
    return write_address(writer, name, first_byte.value_or(0), reinterpret_cast<std::uintptr_t>(view.buf), size);
  const std::span bytes(static_cast<const std::byte*>(view.buf), static_cast<std::size_t>(size));
  const GilReleased released;
  writer.write(tensor, bytes);
}

// Letting go of a large unfinished file takes the system a while.
void abandon(CheckpointWriter& writer) {
  const GilReleased released;
  const CheckpointWriter gone = std::move(writer);
}

using Pending = std::future<void>;

void bind_pending(nb::module_& module) {
  nb::class_<Pending>(module, "Pending", "A commit that goes on in the background.")
      .def("wait", &Pending::get, nb::call_guard<GilReleased>(),
           "Returns when it is done, or raises what went wrong. Once.");
}

}  // namespace

void bind_writer(nb::module_& module) {
  bind_pending(module);
  nb::class_<CheckpointWriter>(module, "CheckpointWriter", "See headrace.Writer.")
      .def(
          "__init__",
          [](CheckpointWriter* self, const std::filesystem::path& path, const nb::list& tensors,
             const std::optional<std::string>& to, const nb::dict& metadata, bool force,
             std::optional<std::uint64_t> shard_size, std::uint64_t header_reserve, nb::handle temporary,
             bool keep_nonfinite, std::optional<std::uint64_t> memory, unsigned threads,
             const Metadata* source_metadata) {
            const auto specs = specs_of(tensors);
            const auto options = options_of({to, metadata, source_metadata, force, keep_nonfinite, shard_size, memory,
                                             header_reserve, from_str(temporary), threads});
            const GilReleased released;
            new (self) CheckpointWriter(path, specs, options);
          },
          nb::arg("path"), nb::arg("tensors"), nb::kw_only(), nb::arg("to") = nb::none(), nb::arg("metadata"),
          nb::arg("force"), nb::arg("shard_size") = nb::none(), nb::arg("header_reserve") = 0,
          nb::arg("temporary") = "", nb::arg("keep_nonfinite") = false, nb::arg("memory") = nb::none(),
          nb::arg("threads") = 0, nb::arg("source_metadata") = nb::none())
      .def(
          "declare",
          [](CheckpointWriter& self, nb::handle name, const std::string& dtype, const std::vector<std::uint64_t>& shape,
             const std::optional<std::string>& from) {
            const TensorSpec spec = spec_of(name, dtype, shape, from);
            const GilReleased released;
            self.declare(spec);
          },
          nb::arg("name"), nb::arg("dtype"), nb::arg("shape"), nb::arg("source_dtype") = nb::none())
      .def("write_address", &write_address, nb::arg("name"), nb::arg("first_byte"), nb::arg("address"),
           nb::arg("nbytes"))
      .def("write_buffer", &write_buffer, nb::arg("name"), nb::arg("buffer"), nb::arg("first_byte") = nb::none())
      .def("commit", &CheckpointWriter::commit, nb::call_guard<GilReleased>())
      .def("commit_async", &CheckpointWriter::commit_async, nb::call_guard<GilReleased>())
      .def("leave", &CheckpointWriter::leave, nb::call_guard<GilReleased>())
      .def("abandon", &abandon)
      .def("files", &CheckpointWriter::files);
}

}  // namespace headrace::python
