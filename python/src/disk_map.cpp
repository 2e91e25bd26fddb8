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

// What `how` gives, without the GIL.
template <class How>
auto tensor_or_none(const nb::str& name, const How& how) {
  const std::string text = from_str(name);
  const GilReleased released;
  return how(text);
}

nb::object view(const Mapped& mapped, const nb::str& name) {
  auto tensor = tensor_or_none(name, [&](std::string_view text) { return mapped.map.view(text); });
  return tensor ? nb::cast(Loaded{std::move(*tensor)}) : nb::none();
}

/// A tensor that lies in its file, of a map that stays as long.
struct InPlace {
  const DiskMap& map;
  std::string name;
  MappedTensor mapped;
};

nb::object in_place(const Mapped& mapped, const nb::str& name, bool stays) {
  const DiskMap::Around around = stays ? DiskMap::Around::nothing : DiskMap::Around::large_pages;
  auto tensor = tensor_or_none(name, [&](std::string_view text) { return mapped.map.map(text, around); });
  return tensor ? nb::cast(InPlace{mapped.map, from_str(name), *std::move(tensor)}) : nb::none();
}

nb::object loaded_of(InPlace& there) { return nb::cast(Loaded{std::move(there.mapped.tensor)}); }

nb::object bring(const InPlace& there, bool past_cache) {
  std::optional<LoadedTensor> copy;
  bool was_cached = false;
  {
    const GilReleased released;
    if (past_cache) copy = there.map.load_past_cache(there.name);
    if (!copy) was_cached = there.mapped.bring();
  }
  return copy ? nb::cast(Loaded{*std::move(copy)}) : nb::cast(was_cached);
}

std::size_t prefetch(const Mapped& mapped, const nb::list& names) {
  const std::vector<std::string> all = texts(names);
  const GilReleased released;
  return mapped.map.prefetch(all);
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
  nb::class_<InPlace>(module, "InPlace", "A tensor where it lies in its file, used again and again.")
      .def("take", &loaded_of, "The LoadedTensor that has its memory; once.")
      .def("bring", &bring, nb::arg("past_cache"),
           "Who looks at it afterwards doesn't wait for the disk. True: the system's cache had it; False: it was read; "
           "a "
           "LoadedTensor: a copy of it, which was read past that cache, if it may be.")
      .def(
          "is_lost", [](const InPlace& there) { return there.mapped.is_lost(); },
          "Whether the system's cache has given some of it up.")
      .def(
          "let_go", [](const InPlace& there) { there.mapped.let_go(); }, nb::call_guard<GilReleased>(),
          "Its pages leave this process's memory.")
      .def(
          "require_intact", [](const InPlace& there) { there.mapped.require_intact(); },
          "Raises IoError when what was seen may not be the file's.");
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
      .def("in_place", &in_place, nb::arg("name"), nb::arg("stays"), nb::keep_alive<0, 1>(),
           "The same for one that is used again and again; its pages come when they are brought, and if they stay, no "
           "neighbours' with them.")
      .def("prefetch", &prefetch, nb::arg("names"), "How many have to be read.")
      .def("release", &release, nb::arg("names"), nb::arg("page_cache"))
      .def_prop_ro("statistics", [](const Mapped& mapped) { return mapped.map.statistics(); });
  module.def("open_disk_map", &open, nb::arg("locations"), nb::arg("options"));
}

}  // namespace headrace::python
