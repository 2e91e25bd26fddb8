// Plans and reports as dicts that json.dumps() takes: the documents that the command prints with --json.
#pragma once

#include <headrace/convert.hpp>
#include <headrace/plan.hpp>
#include <headrace/verify.hpp>

#include <nanobind/nanobind.h>

namespace headrace::python {

namespace nb = nanobind;

nb::dict document_of(const PlannedTensor& tensor);
nb::dict document_of(const DroppedTensor& tensor);
nb::dict document_of(const TensorComparison& tensor);

/// The plan as a whole, and its notes.
nb::dict document_of(const Plan& plan);
/// With a list of its tensors.
nb::dict document_with_tensors(const Plan& plan);
/// With what carrying it out came to.
nb::dict document_of(const Plan& plan, const ConvertReport& report);

/// None for what isn't finite, as JSON knows no such number.
nb::object finite_or_none(double figure);
/// False for what was not compared, whose errors say nothing.
bool has_figures(const TensorComparison& tensor) noexcept;

}  // namespace headrace::python
