// DiskMap: what _disk_map.py is made of.
#include "bindings.hpp"
#include "interrupts.hpp"
#include "loaded.hpp"
#include "options.hpp"
#include "plan.hpp"
#include "text.hpp"

#include <headrace/cancel.hpp>
#include <headrace/disk_map.hpp>

#include <nanobind/stl/unique_ptr.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace headrace::python {
namespace {

/// A map, and what ends its reads. Reads of files of this machine aren't waited for, those of servers are.
struct Mapped {
  DiskMap map;
  CancelToken cancel;
  bool waits;
};

std::vector<std::string> texts(const nb::list& given) {
  std::vector<std::string> all;
  all.reserve(given.size());
  for (const nb::handle one : given) all.push_back(from_str(one));
  return all;
}

std::unique_ptr<Mapped> open(const nb::list& given, const nb::dict& keywords) {
  const std::vector<std::string> locations = texts(given);
  const LoadOptions loading = load_options(keywords);
  DiskMapOptions options;
  options.type = loading.type;
  options.nonfinite = loading.nonfinite;
  options.source = loading.source;
  options.memory = loading.memory;
  options.threads = loading.threads;
  const bool waits = loading.source.fetch || std::ranges::any_of(locations, [](const std::string& location) {
                       return location.find("://") != std::string::npos;
                     });
  const CancelToken cancel = options.source.cancel;
  return interruptibly(cancel, [&] {
    return std::make_unique<Mapped>(Mapped{DiskMap(std::span(locations), options), cancel, waits});
  });
}

// (name, dtype, shape, bytes, file) of a tensor, as it is given; None when there is none of this name.
nb::object about(const Mapped& mapped, const nb::str& name) {
  const TensorInfo* tensor = mapped.map.find(from_str(name));
  if (tensor == nullptr) return nb::none();
  return nb::make_tuple(name, to_str(headrace::name(tensor->dtype)), to_tuple(tensor->shape), tensor->bytes,
                        to_str(mapped.map.file_of(tensor->name)));
}

nb::list names(const Mapped& mapped) {
  nb::list all;
  for (const TensorInfo& tensor : mapped.map.tensors()) all.append(to_str(tensor.name));
  return all;
}

nb::list files(const Mapped& mapped) {
  nb::list all;
  for (const std::string& path : mapped.map.files()) all.append(to_str(path));
  return all;
}

void read(const Mapped& mapped, const nb::str& name, std::uintptr_t address, std::uint64_t bytes) {
  const std::string text = from_str(name);
  const std::span out(reinterpret_cast<std::byte*>(address), static_cast<std::size_t>(bytes));
  if (mapped.waits) return interruptibly(mapped.cancel, [&] { mapped.map.read(text, out); });
  const GilReleased released;
  mapped.map.read(text, out);
}

Loaded load(const Mapped& mapped, const nb::str& name) {
  const std::string text = from_str(name);
  if (mapped.waits) return {interruptibly(mapped.cancel, [&] { return mapped.map.load(text); })};
  const GilReleased released;
  return {mapped.map.load(text)};
}

// What `how` gives, without the GIL; None where it gives nothing.
template <class How>
auto tensor_or_none(const Mapped& mapped, const nb::str& name, How how) {
  const std::string text = from_str(name);
  const GilReleased released;
  return (mapped.map.*how)(text);
}

// A tensor that lies in its file.
nb::object map(const Mapped& mapped, const nb::str& name) {
  auto tensor = tensor_or_none(mapped, name, &DiskMap::map);
  return tensor ? nb::cast(std::move(*tensor)) : nb::none();
}

template <class How>
nb::object loaded_or_none(const Mapped& mapped, const nb::str& name, How how) {
  auto tensor = tensor_or_none(mapped, name, how);
  return tensor ? nb::cast(Loaded{std::move(*tensor)}) : nb::none();
}

nb::object view(const Mapped& mapped, const nb::str& name) { return loaded_or_none(mapped, name, &DiskMap::view); }

// A copy of a tensor that the system's cache doesn't keep.
nb::object load_past_cache(const Mapped& mapped, const nb::str& name) {
  return loaded_or_none(mapped, name, &DiskMap::load_past_cache);
}

nb::object loaded_of(MappedTensor& mapped) { return nb::cast(Loaded{std::move(mapped.tensor)}); }

void prefetch(const Mapped& mapped, const nb::list& names) {
  const std::vector<std::string> all = texts(names);
  const GilReleased released;
  mapped.map.prefetch(all);
}

void release(const Mapped& mapped, const nb::list& names, bool page_cache) {
  const std::vector<std::string> all = texts(names);
  const GilReleased released;
  mapped.map.release(all, page_cache);
}

}  // namespace

void bind_disk_map(nb::module_& module) {
  using Statistics = DiskMapStatistics;
  nb::class_<Statistics>(module, "DiskMapStatistics", "Since the map was made.")
      .def_ro("reads", &Statistics::reads, "Tensors given.")
      .def_ro("bytes_read", &Statistics::bytes_read, "Of the files.")
      .def_ro("bytes_given", &Statistics::bytes_given, "After conversion.")
      .def_ro("prefetched", &Statistics::prefetched, "Tensors that prefetch() was asked for.")
      .def_ro("cached_bytes", &Statistics::cached_bytes, "Of prefetched tensors that are held now.");
  nb::class_<MappedTensor>(module, "MappedTensor", "A tensor where it lies in its file.")
      .def("take", &loaded_of, "The LoadedTensor that has its memory; once.")
      .def("bring", &MappedTensor::bring, nb::call_guard<GilReleased>(), "Its pages are in memory when it returns.")
      .def("is_lost", &MappedTensor::is_lost, "Whether the system's cache has given some of it up.")
      .def("let_go", &MappedTensor::let_go, nb::call_guard<GilReleased>(), "They leave this process's memory.")
      .def("require_intact", &MappedTensor::require_intact, "Raises IoError when what was seen may not be the file's.");
  nb::class_<Mapped>(module, "DiskMap", "See headrace.DiskMap.")
      .def("__len__", [](const Mapped& mapped) { return mapped.map.tensors().size(); })
      .def("about", &about, nb::arg("name"), "(name, dtype, shape, bytes, file) of a tensor; None when there is none.")
      .def("names", &names)
      .def("files", &files, "Paths of the files of this machine that tensors are in.")
      .def("read", &read, nb::arg("name"), nb::arg("address"), nb::arg("nbytes"),
           "Fills the memory at an address with a tensor, of exactly its bytes.")
      .def("load", &load, nb::arg("name"), "A tensor in new memory of the host's.")
      .def("view", &view, nb::arg("name"),
           "A tensor where it lies in its file, its pages in memory; None where it can't be had so.")
      .def("map", &map, nb::arg("name"),
           "The same for one that is used again and again; its pages come when they are brought.")
      .def("load_past_cache", &load_past_cache, nb::arg("name"),
           "A copy of a tensor that the system's cache doesn't keep from use to use; None: its pages are to be used.")
      .def("prefetch", &prefetch, nb::arg("names"))
      .def("release", &release, nb::arg("names"), nb::arg("page_cache"))
      .def_prop_ro("statistics", [](const Mapped& mapped) { return mapped.map.statistics(); });
  module.def("open_disk_map", &open, nb::arg("locations"), nb::arg("options"));
}

}  // namespace headrace::python
