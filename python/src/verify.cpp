// verify. _verify.py makes its arguments plain and documents it.
#include "bindings.hpp"
#include "checkpoint.hpp"
#include "documents.hpp"
#include "job.hpp"
#include "options.hpp"
#include "text.hpp"

#include <headrace/verify.hpp>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <variant>

namespace headrace::python {
namespace {

// nanobind knows types by their names: no two may share one, in whatever namespace they are.
struct VerifyReportObject {
  std::string first, second;  // locations, without credentials
  VerifyReport report;
};

// A location, to be opened here, or what is open already.
using Side = std::variant<std::string, Checkpoint>;

Side side_of(nb::handle given) {
  Opened* opened = nullptr;
  if (nb::try_cast(given, opened) && opened != nullptr) return opened->checkpoint;
  return from_str(given);
}

Checkpoint open(const Side& side, const OpenOptions& options) {
  const std::string* location = std::get_if<std::string>(&side);
  return location != nullptr ? Checkpoint::open(*location, options) : std::get<Checkpoint>(side);
}

VerifyReportObject verify_checkpoints(nb::handle first, nb::handle second, const nb::dict& given, nb::handle progress,
                                      const CancelToken* cancel) {
  const Side a = side_of(first), b = side_of(second);
  const VerifyOptions options{.memory = memory_of(given), .threads = threads_of(given)};
  const OwnToken token(cancel);
  SourceOptions source = source_options(given);
  source.cancel = token.get();
  const auto [left, right] = interruptibly(token.get(), [&] {
    Checkpoint one = open(a, {options.memory, source});
    const std::uint64_t rest = options.memory - std::min(options.memory, one.memory());
    Checkpoint other = open(b, {rest, source});
    return std::pair(std::move(one), std::move(other));
  });
  const Checkpoint &from = left, &to = right;  // a lambda can't hold what a binding names
  VerifyReport report = run_job(progress, cancel, [&](const ProgressCallback& callback, const CancelToken& own) {
    return verify(from, to, options, callback, own);
  });
  return {left.location(), right.location(), std::move(report)};
}

nb::dict document_of_report(const VerifyReportObject& object) {
  nb::dict document;
  document["first"] = to_str(object.first);
  document["second"] = to_str(object.second);
  document["files_identical"] = object.report.files_identical;
  document["metadata_identical"] = object.report.metadata_identical;
  document["tensor_count"] = object.report.tensors.size();
  nb::list tensors;
  for (const TensorComparison& tensor : object.report.tensors) tensors.append(document_of(tensor));
  document["tensors"] = tensors;
  return document;
}

nb::object repr_of(const VerifyReportObject& object) {
  const auto& tensors = object.report.tensors;
  std::string text = "<headrace.VerifyReport: " + std::to_string(tensors.size()) + " tensors, ";
  if (object.report.files_identical) return to_str(text + "identical files>");
  const auto identical = std::ranges::count(tensors, Match::identical, &TensorComparison::match);
  const auto compared = std::ranges::count(tensors, Match::compared, &TensorComparison::match);
  const auto others = static_cast<std::ptrdiff_t>(tensors.size()) - identical - compared;
  text += std::to_string(identical) + " identical, " + std::to_string(compared) + " compared";
  if (others > 0) text += ", " + std::to_string(others) + " not comparable or on one side only";
  return to_str(text + ">");
}

nb::object dtype_or_none(const TensorComparison& tensor, DType dtype, Match absent) {
  return tensor.match == absent ? nb::none() : nb::object(to_str(name(dtype)));
}

nb::object figure_or_none(const TensorComparison& tensor, double figure) {
  return has_figures(tensor) ? nb::object(nb::float_(figure)) : nb::none();
}

void bind_comparison(nb::module_& module) {
  using Row = TensorComparison;
  nb::class_<Row>(module, "TensorComparison", "A tensor of two checkpoints, the first taken as the truth.")
      .def_prop_ro("name", [](const Row& row) { return to_str(row.name); })
      .def_prop_ro(
          "match", [](const Row& row) { return to_str(to_string(row.match)); },
          "'identical', 'compared', 'shape differs', 'type differs', 'bytes differ', 'only in first', 'only in "
          "second'.")
      .def_prop_ro(
          "first", [](const Row& row) { return dtype_or_none(row, row.first, Match::only_in_second); },
          "Its type there, or None where it isn't.")
      .def_prop_ro("second", [](const Row& row) { return dtype_or_none(row, row.second, Match::only_in_first); })
      .def_ro("elements", &Row::elements)
      .def_prop_ro(
          "max_error", [](const Row& row) { return figure_or_none(row, row.max_error); },
          "The largest |a - b|, inf where only one side is NaN or infinite; None where nothing was compared.")
      .def_prop_ro(
          "relative_rmse", [](const Row& row) { return figure_or_none(row, row.relative_rmse); },
          "sqrt(sum((a - b)^2) / sum(a^2)); None where nothing was compared.")
      .def("__repr__", [](const Row& row) {
        return to_str("<headrace.TensorComparison '" + row.name + "': " + to_string(row.match) + ">");
      });
}

}  // namespace

void bind_verify(nb::module_& module) {
  bind_comparison(module);
  using Object = VerifyReportObject;
  nb::class_<Object>(module, "VerifyReport", "How two checkpoints differ.")
      .def_prop_ro(
          "first", [](const Object& o) { return to_str(o.first); }, "Its location.")
      .def_prop_ro("second", [](const Object& o) { return to_str(o.second); })
      .def_prop_ro(
          "files_identical", [](const Object& o) { return o.report.files_identical; },
          "Byte for byte, metadata and padding included.")
      .def_prop_ro(
          "metadata_identical", [](const Object& o) { return o.report.metadata_identical; },
          "The same pairs, in any order.")
      .def_prop_ro(
          "tensors", [](const Object& o) { return o.report.tensors; },
          "A TensorComparison each, in the order of the first, then what only the second has.")
      .def(
          "same", [](const Object& o, double max_rmse) { return o.report.same(max_rmse); }, nb::arg("max_rmse") = 0.0,
          "True when every tensor is on both sides with one shape, and all that differ stay within max_rmse.")
      .def("to_dict", &document_of_report, "The report as json.dumps() takes it; figures that aren't finite are None.")
      .def("__repr__", &repr_of);
  module.def("verify", &verify_checkpoints, nb::arg("first"), nb::arg("second"), nb::arg("options"),
             nb::arg("progress").none(), nb::arg("cancel").none());
}

}  // namespace headrace::python
