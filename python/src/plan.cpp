#include "plan.hpp"

#include "bindings.hpp"
#include "documents.hpp"
#include "metadata.hpp"
#include "text.hpp"

#include <headrace/bytes.hpp>

#include <array>
#include <string>

namespace headrace::python {
namespace {

PlannedTensorObject tensor_at(const PlanObject& plan, std::size_t i) { return {plan.plan(), plan.plan()[i]}; }

nb::list tensors_of(const PlanObject& plan) {
  nb::list tensors;
  for (std::size_t i = 0; i < plan.plan().size(); ++i) tensors.append(nb::cast(tensor_at(plan, i)));
  return tensors;
}

PlannedTensorObject tensor_by_name(const PlanObject& plan, const nb::str& name) {
  const auto at = plan.find(from_str(name));
  if (!at) throw nb::key_error(from_str(nb::repr(name)).c_str());
  return tensor_at(plan, *at);
}

PlannedTensorObject tensor_by_index(const PlanObject& plan, Py_ssize_t i) {
  const auto size = static_cast<Py_ssize_t>(plan.plan().size());
  if (i < -size || i >= size) throw nb::index_error("no tensor of that number in the plan");
  return tensor_at(plan, static_cast<std::size_t>(i < 0 ? i + size : i));
}

nb::list tensors_in(const PlanObject& plan, const nb::slice& slice) {
  const auto [start, stop, step, length] = slice.compute(plan.plan().size());
  nb::list tensors;
  for (std::size_t k = 0; k < length; ++k) {
    const Py_ssize_t i = start + static_cast<Py_ssize_t>(k) * step;
    tensors.append(nb::cast(tensor_at(plan, static_cast<std::size_t>(i))));
  }
  return tensors;
}

nb::list tensors_made_of(const PlanObject& plan, const nb::str& name) {
  const std::string source = from_str(name);
  nb::list tensors;
  for (std::size_t i = 0; i < plan.plan().size(); ++i) {
    if (plan.plan().is_made_of(i, source)) tensors.append(nb::cast(tensor_at(plan, i)));
  }
  return tensors;
}

nb::tuple inputs_of(const PlanObject& plan) {
  nb::list inputs;
  for (const Input& input : plan.plan().inputs()) inputs.append(nb::cast(input));
  return nb::tuple(inputs);
}

nb::tuple files_of(const PlanObject& plan) {
  nb::list files;
  for (std::size_t i = 0; i < plan.plan().output_files(); ++i)
    files.append(to_str(plan.plan().output_file(i).string()));
  return nb::tuple(files);
}

nb::tuple notes_of(const PlanObject& plan) {
  nb::list notes;
  for (const std::string& note : plan.plan().notes()) notes.append(to_str(note));
  return nb::tuple(notes);
}

nb::tuple dropped_of(const PlanObject& plan) {
  nb::list dropped;
  for (const DroppedTensor& tensor : plan.plan().dropped())
    dropped.append(nb::cast(DroppedTensorObject{plan.plan(), tensor}));
  return nb::tuple(dropped);
}

nb::object repr_of(const PlanObject& object) {
  const Plan& plan = object.plan();
  std::string text = "<headrace.Plan: " + std::to_string(plan.size()) + " tensors, ";
  text += format_bytes(plan.source_bytes()) + " -> " + format_bytes(plan.output_bytes()) + ", ";
  text += plan.output().string() + " (" + std::string(name(plan.to()));
  if (plan.output_files() > 1) text += ", " + std::to_string(plan.output_files()) + " files";
  text += ")";
  if (plan.unmeasured() > 0) text += ", " + std::to_string(plan.unmeasured()) + " wait for a look at the data";
  return to_str(text + ">");
}

nb::object repr_of_tensor(const PlannedTensorObject& object) {
  const PlannedTensor& tensor = object.tensor;
  return to_str("<headrace.PlannedTensor '" + std::string(tensor.name) + "' " + to_string(tensor.shape) + ": " +
                std::string(name(tensor.from)) + " -> " + std::string(name(tensor.to)) + ", " + explain(tensor) + ">");
}

void bind_input(nb::module_& module) {
  nb::class_<Input>(module, "Input", R"(A checkpoint that a conversion reads, and what goes in front of its names.

location is a path, a folder, a URL or "-"; prefix goes in front of the name of each tensor that doesn't begin with it
already.)")
      .def(
          "__init__",
          [](Input* self, const nb::str& location, const nb::str& prefix) {
            new (self) Input{from_str(location), from_str(prefix)};
          },
          nb::arg("location"), nb::arg("prefix") = "")
      .def_prop_ro("location", [](const Input& input) { return to_str(input.location); })
      .def_prop_ro("prefix", [](const Input& input) { return to_str(input.prefix); })
      .def("__repr__", [](const Input& input) {
        const nb::object location = nb::repr(to_str(input.location)), prefix = nb::repr(to_str(input.prefix));
        return to_str("headrace.Input(" + from_str(location) +
                      (input.prefix.empty() ? "" : ", prefix=" + from_str(prefix)) + ")");
      });
}

void bind_planned_tensor(nb::module_& module) {
  using Object = PlannedTensorObject;
  nb::class_<Object>(module, "PlannedTensor", "What one tensor of the output will be, and why. Keeps its plan alive.")
      .def_prop_ro(
          "name", [](const Object& o) { return to_str(o.tensor.name); }, "In the output.")
      .def_prop_ro(
          "source_name", [](const Object& o) { return to_str(o.tensor.source_name); },
          "As its input lists it, without the prefix; of several that are joined, the first's.")
      .def_prop_ro(
          "input", [](const Object& o) { return o.tensor.input; }, "Index in Plan.inputs.")
      .def_prop_ro(
          "sources", [](const Object& o) { return o.tensor.sources; }, "Tensors that it is joined from.")
      .def_prop_ro(
          "is_part", [](const Object& o) { return o.tensor.is_part; }, "It is a part of its source.")
      .def_prop_ro(
          "scaled", [](const Object& o) { return o.tensor.scaled; },
          "Its source is scaled FP8; the scale is folded in.")
      .def_prop_ro(
          "shape", [](const Object& o) { return to_tuple(o.tensor.shape); }, "As the output will list it.")
      .def_prop_ro(
          "source_shape", [](const Object& o) { return to_tuple(o.tensor.source_shape); },
          "As the source lists it, joined or cut.")
      .def_prop_ro(
          "from_", [](const Object& o) { return to_str(name(o.tensor.from)); }, "Its source's type: 'BF16'.")
      .def_prop_ro(
          "to", [](const Object& o) { return to_str(name(o.tensor.to)); }, "The type that it will have.")
      .def_prop_ro(
          "why", [](const Object& o) { return to_str(word_of(o.tensor.why)); },
          "Why it has that type, in a word: 'requested', 'rule', 'row_fallback', …")
      .def_prop_ro(
          "explain", [](const Object& o) { return to_str(explain(o.tensor)); }, "The same as a phrase for people.")
      .def_prop_ro(
          "asked",
          [](const Object& o) { return o.tensor.asked ? nb::object(to_str(name(*o.tensor.asked))) : nb::none(); },
          "The type asked for, by a rule or for all, or None.")
      .def_prop_ro(
          "rule", [](const Object& o) { return to_str_or_none(o.tensor.rule); }, "The rule that decided.")
      .def_prop_ro(
          "by_profile", [](const Object& o) { return o.tensor.by_profile; }, "That rule is the profile's.")
      .def_prop_ro(
          "importance", [](const Object& o) { return to_str(word_of(o.tensor.importance)); },
          "What weighs its numbers: 'none', 'ones' or 'file'.")
      .def_prop_ro("source_bytes", [](const Object& o) { return o.tensor.source_bytes; })
      .def_prop_ro(
          "bytes", [](const Object& o) { return o.tensor.bytes; }, "In the output.")
      .def_prop_ro(
          "file", [](const Object& o) { return o.tensor.file; }, "Index in Plan.output_files.")
      .def_prop_ro(
          "offset", [](const Object& o) { return o.tensor.offset; }, "Of its first byte in that file.")
      .def(
          "to_dict", [](const Object& o) { return document_of(o.tensor); }, "As `headrace convert --explain --json`.")
      .def("__repr__", &repr_of_tensor);
  nb::class_<DroppedTensorObject>(module, "DroppedTensor", "A tensor of an input that the output won't have.")
      .def_prop_ro("name", [](const DroppedTensorObject& o) { return to_str(o.tensor.name); })
      .def_prop_ro("source_name", [](const DroppedTensorObject& o) { return to_str(o.tensor.source_name); })
      .def_prop_ro("input", [](const DroppedTensorObject& o) { return o.tensor.input; })
      .def_prop_ro("why", [](const DroppedTensorObject& o) { return to_str(o.tensor.why); })
      .def("to_dict", [](const DroppedTensorObject& o) { return document_of(o.tensor); })
      .def("__repr__", [](const DroppedTensorObject& o) {
        return to_str("<headrace.DroppedTensor '" + std::string(o.tensor.name) + "': " + o.tensor.why + ">");
      });
}

}  // namespace

std::optional<std::size_t> PlanObject::find(std::string_view name) const {
  if (by_name_.empty()) {
    for (std::size_t i = 0; i < plan_.size(); ++i) by_name_.emplace(plan_[i].name, i);
  }
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? std::nullopt : std::optional(at->second);
}

std::string_view word_of(Reason why) noexcept {
  switch (why) {
    case Reason::kept: return "kept";
    case Reason::already: return "already";
    case Reason::requested: return "requested";
    case Reason::rule: return "rule";
    case Reason::profile: return "profile";
    case Reason::recipe: return "recipe";
    case Reason::left_by_recipe: return "left_by_recipe";
    case Reason::measured: return "measured";
    case Reason::unmeasured: return "unmeasured";
    case Reason::scale: return "scale";
    case Reason::not_float: return "not_float";
    case Reason::one_dimensional: return "one_dimensional";
    case Reason::kept_wide: return "kept_wide";
    case Reason::row_fallback: return "row_fallback";
  }
  return "";
}

std::string_view word_of(Importance importance) noexcept {
  constexpr std::array<std::string_view, 3> kWords = {"none", "ones", "file"};
  return kWords[static_cast<std::size_t>(importance)];
}

nb::tuple to_tuple(Shape shape) {
  nb::list extents;
  for (const std::uint64_t extent : shape) extents.append(extent);
  return nb::tuple(extents);
}

void bind_plan(nb::module_& module) {
  bind_input(module);
  bind_planned_tensor(module);
  nb::class_<PlanObject>(module, "Plan", R"(What a conversion will do, tensor by tensor: a sequence of PlannedTensor.

plan[3] and plan["name"] give one tensor, in the order of the output's header; len(plan), iteration, `name in plan`.
A plan doesn't change, keeps its inputs open, and may be used from any thread.)")
      .def("__len__", [](const PlanObject& o) { return o.plan().size(); })
      .def("__getitem__", &tensor_by_index)
      .def("__getitem__", &tensor_by_name)
      .def("__getitem__", &tensors_in)
      .def("__contains__", [](const PlanObject& o, const nb::str& name) { return o.find(from_str(name)).has_value(); })
      .def("__iter__", [](const PlanObject& o) { return nb::iter(tensors_of(o)); })
      .def("__repr__", &repr_of)
      .def_prop_ro("tensors", &tensors_of)
      .def("made_of", &tensors_made_of, nb::arg("source_name"),
           "The tensors of the output that are made of the inputs' tensor of that name.")
      .def_prop_ro("inputs", &inputs_of)
      .def_prop_ro("output", [](const PlanObject& o) { return to_str(o.plan().output().string()); })
      .def_prop_ro("output_files", &files_of, "The files that hold the tensors: one, or shards.")
      .def_prop_ro(
          "output_index", [](const PlanObject& o) { return to_str_or_none(o.plan().output_index().string()); },
          "The index that shards of safetensors get beside them, or None.")
      .def_prop_ro(
          "to", [](const PlanObject& o) { return to_str(name(o.plan().to())); }, "The output's format.")
      .def_prop_ro(
          "metadata", [](const PlanObject& o) { return to_dict(o.plan().metadata()); },
          "The output's metadata: a dict of str, int, float, bool and lists, made anew each time.")
      .def_prop_ro("notes", &notes_of, "What is dropped, reshaped or decided on the caller's behalf, a sentence each.")
      .def_prop_ro("dropped", &dropped_of)
      .def_prop_ro(
          "unmeasured", [](const PlanObject& o) { return o.plan().unmeasured(); },
          "How many tensors wait for a look at the data: see headrace.measure().")
      .def_prop_ro(
          "source_bytes", [](const PlanObject& o) { return o.plan().source_bytes(); }, "Of all tensors.")
      .def_prop_ro(
          "header_bytes", [](const PlanObject& o) { return o.plan().header_bytes(); },
          "Of all output files, up to their first tensors.")
      .def_prop_ro(
          "output_bytes", [](const PlanObject& o) { return o.plan().output_bytes(); }, "Of all output files.")
      .def(
          "to_dict", [](const PlanObject& o) { return document_with_tensors(o.plan()); },
          "The plan as json.dumps() takes it; what `headrace convert --dry-run --json` prints.");
}

}  // namespace headrace::python
