// plan, measure and convert. _convert.py makes their arguments plain and documents them.
#include "bindings.hpp"
#include "documents.hpp"
#include "job.hpp"
#include "options.hpp"
#include "plan.hpp"
#include "text.hpp"

#include <headrace/bytes.hpp>
#include <headrace/convert.hpp>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace headrace::python {
namespace {

// What a conversion came to, and the plan that was carried out: nothing in it waits for a look at the data any more.
struct ConvertReportObject {
  ConvertReport report;
  PlanObject plan;
};

PlanObject plan(const nb::list& inputs, const nb::str& output, const nb::dict& given, const CancelToken* cancel) {
  const std::vector<Input> from = inputs_of(inputs);
  const std::string to = from_str(output);
  const OwnToken token(cancel);
  ConvertOptions options = convert_options(given);
  options.source.cancel = token.get();
  return PlanObject(interruptibly(token.get(), [&] { return plan_conversion(from, to, options); }));
}

PlanObject measure_plan(const PlanObject& given, nb::handle progress, const CancelToken* cancel) {
  const Plan plan = given.plan();
  return PlanObject(run_job(progress, cancel, [&](const ProgressCallback& callback, const CancelToken& token) {
    return measure(plan, callback, token);
  }));
}

ConvertReportObject convert_plan(const PlanObject& given, nb::handle progress, const CancelToken* cancel) {
  const Plan plan = given.plan();
  auto [report, done] = run_job(progress, cancel, [&](const ProgressCallback& callback, const CancelToken& token) {
    Plan measured = measure(plan, callback, token);
    ConvertReport made = convert(measured, callback, token);
    return std::pair(std::move(made), std::move(measured));
  });
  return {std::move(report), PlanObject(std::move(done))};
}

nb::object repr_of(const ConvertReportObject& object) {
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.3g s", object.report.seconds);
  std::string text = "<headrace.ConvertReport: wrote " + object.plan.plan().output().string() + ", ";
  text += format_bytes(object.report.bytes_written) + " from " + format_bytes(object.report.bytes_read);
  return to_str(text + " in " + seconds + ">");
}

void bind_report(nb::module_& module) {
  nb::class_<TensorError>(module, "TensorError",
                          "How far a tensor is from what it was made of: w the source's numbers, v the output's.")
      .def_prop_ro(
          "name", [](const TensorError& error) { return to_str(error.name); }, "Of the tensor in the output.")
      .def_ro("tensor", &TensorError::tensor, "Index in the plan that was carried out: ConvertReport.plan.")
      .def_ro("relative_rmse", &TensorError::relative_rmse, "sqrt(sum((w - v)^2) / sum(w^2))")
      .def_ro("max_error", &TensorError::max_error, "The largest |w - v|.")
      .def_ro("cosine", &TensorError::cosine, "sum(w v) / sqrt(sum(w^2) sum(v^2))")
      .def("__repr__", [](const TensorError& error) {
        char figures[64];
        std::snprintf(figures, sizeof figures, "relative RMSE %.4g>", error.relative_rmse);
        return to_str("<headrace.TensorError '" + error.name + "': " + figures);
      });
  using Object = ConvertReportObject;
  nb::class_<Object>(module, "ConvertReport", "What a conversion came to.")
      .def_prop_ro(
          "bytes_read", [](const Object& o) { return o.report.bytes_read; }, "Of tensors.")
      .def_prop_ro(
          "bytes_written", [](const Object& o) { return o.report.bytes_written; }, "Of all output files.")
      .def_prop_ro("seconds", [](const Object& o) { return o.report.seconds; })
      .def_prop_ro(
          "peak_budget", [](const Object& o) { return o.report.peak_budget; },
          "Most bytes of the memory budget that were held at once.")
      .def_prop_ro(
          "errors", [](const Object& o) { return o.report.errors; },
          "With measure=True, a TensorError for each tensor that changed its type, in the order of the plan.")
      .def_prop_ro(
          "plan", [](const Object& o) { return PlanObject(o.plan.plan()); },
          "The Plan that was carried out, in which no tensor waits for a look at the data.")
      .def(
          "to_dict", [](const Object& o) { return document_of(o.plan.plan(), o.report); },
          "The report as json.dumps() takes it; what `headrace convert --report` writes. Figures that aren't finite "
          "are None.")
      .def("__repr__", &repr_of);
}

}  // namespace

void bind_convert(nb::module_& module) {
  bind_report(module);
  module.def("plan", &plan, nb::arg("inputs"), nb::arg("output"), nb::arg("options"), nb::arg("cancel").none());
  module.def("measure", &measure_plan, nb::arg("plan"), nb::arg("progress").none(), nb::arg("cancel").none());
  module.def("convert", &convert_plan, nb::arg("plan"), nb::arg("progress").none(), nb::arg("cancel").none());
}

}  // namespace headrace::python
