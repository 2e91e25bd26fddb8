// Names of element types and of components.
#include "bindings.hpp"
#include "text.hpp"

#include <headrace/components.hpp>
#include <headrace/convert.hpp>
#include <headrace/dtype.hpp>
#include <headrace/targets.hpp>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <string_view>
#include <vector>

namespace headrace::python {
namespace {

nb::object parse(const nb::str& text) {
  const auto dtype = parse_dtype(from_str(text));
  return dtype ? nb::object(to_str(name(*dtype))) : nb::none();
}

nb::list names_near(const nb::str& text, const std::vector<std::string>& names) {
  const std::string typed = from_str(text);
  const std::vector<std::string_view> all(names.begin(), names.end());
  nb::list near;
  for (const std::string_view name : closest(typed, all)) near.append(to_str(name));
  return near;
}

nb::tuple dtypes() {
  nb::list names;
  for (const DTypeInfo& type : all_dtypes()) names.append(to_str(type.name));
  return nb::tuple(names);
}

nb::dict components() {
  nb::dict prefixes;
  for (const ComponentInfo& component : all_components()) prefixes[to_str(component.name)] = to_str(component.prefix);
  return prefixes;
}

}  // namespace

void bind_dtypes(nb::module_& module) {
  module.def("parse_dtype", &parse, nb::arg("text"), "The canonical name of a type, by any of its names; or None.");
  module.def("dtypes", &dtypes, "The canonical names of all types.");
  module.def("closest", &names_near, nb::arg("typed"), nb::arg("names"), "The names nearest to a mistyped one.");
  module.def("components", &components, "The prefixes of an all-in-one file's components by name, in their order.");
}

}  // namespace headrace::python
