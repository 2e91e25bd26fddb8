#include "documents.hpp"

#include "plan.hpp"
#include "text.hpp"

#include <cmath>
#include <string>
#include <vector>

namespace headrace::python {
namespace {

nb::list to_list(Shape shape) { return nb::list(to_tuple(shape)); }

nb::object imatrix_of(const ConvertOptions& options) {
  if (options.importance != Importance::file) return to_str(word_of(options.importance));
  nb::list files;
  for (const std::filesystem::path& file : options.imatrix_files) files.append(to_str(file.string()));
  return files;
}

// How many tensors of each type the output will have, in the order of their first tensor.
nb::list totals_by_type(const Plan& plan) {
  struct Total {
    DType dtype = DType::F32;
    std::uint64_t tensors = 0, bytes = 0;
  };
  std::vector<Total> totals;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const PlannedTensor tensor = plan[i];
    std::size_t at = 0;
    while (at < totals.size() && totals[at].dtype != tensor.to) ++at;
    if (at == totals.size()) totals.push_back({tensor.to});
    ++totals[at].tensors;
    totals[at].bytes += tensor.bytes;
  }
  nb::list types;
  for (const Total& total : totals) {
    nb::dict type;
    type["dtype"] = to_str(name(total.dtype));
    type["tensors"] = total.tensors;
    type["bytes"] = total.bytes;
    types.append(type);
  }
  return types;
}

nb::list inputs_of(const Plan& plan) {
  nb::list inputs;
  for (std::size_t i = 0; i < plan.inputs().size(); ++i) {
    nb::dict input;
    input["file"] = to_str(plan.inputs()[i].location);
    input["prefix"] = to_str(plan.inputs()[i].prefix);
    input["format"] = to_str(name(plan.from(i)));
    inputs.append(input);
  }
  return inputs;
}

void add_options(nb::dict& document, const ConvertOptions& options) {
  document["type"] = options.type ? nb::object(to_str(name(*options.type))) : nb::none();
  nb::list rules;
  for (const Rule& rule : options.rules) rules.append(to_str(to_string(rule)));
  document["rules"] = rules;
  document["for"] = to_str_or_none(options.profile);
  document["recipe"] = options.recipe ? nb::object(to_str(name(options.recipe->recipe))) : nb::none();
  document["imatrix"] = imatrix_of(options);
}

nb::dict document_of(const Plan& plan, const TensorError& error) {
  const PlannedTensor tensor = plan[error.tensor];
  std::uint64_t elements = 1;
  for (const std::uint64_t extent : tensor.shape) elements *= extent;
  nb::dict document;
  document["name"] = to_str(tensor.name);
  document["from"] = to_str(name(tensor.from));
  document["to"] = to_str(name(tensor.to));
  document["why"] = to_str(explain(tensor));
  document["elements"] = elements;
  document["bytes"] = tensor.bytes;
  document["relative_rmse"] = finite_or_none(error.relative_rmse);
  document["max_error"] = finite_or_none(error.max_error);
  document["cosine"] = finite_or_none(error.cosine);
  return document;
}

}  // namespace

nb::object finite_or_none(double figure) { return std::isfinite(figure) ? nb::object(nb::float_(figure)) : nb::none(); }

bool has_figures(const TensorComparison& tensor) noexcept {
  return tensor.match == Match::identical || tensor.match == Match::compared;
}

nb::dict document_of(const PlannedTensor& tensor) {
  nb::dict document;
  document["name"] = to_str(tensor.name);
  document["input"] = tensor.input;
  document["source_name"] = to_str(tensor.source_name);
  document["from"] = to_str(name(tensor.from));
  document["to"] = to_str(name(tensor.to));
  document["shape"] = to_list(tensor.shape);
  document["source_shape"] = to_list(tensor.source_shape);
  document["why"] = to_str(explain(tensor));
  document["rule"] = to_str_or_none(tensor.rule);
  document["needs_data"] = tensor.why == Reason::unmeasured;
  document["joined_from"] = tensor.sources;
  document["scaled"] = tensor.scaled;
  document["imatrix"] = to_str(word_of(tensor.importance));
  document["source_bytes"] = tensor.source_bytes;
  document["bytes"] = tensor.bytes;
  document["file_index"] = tensor.file;
  document["offset"] = tensor.offset;
  return document;
}

nb::dict document_of(const DroppedTensor& tensor) {
  nb::dict document;
  document["name"] = to_str(tensor.name);
  document["input"] = tensor.input;
  document["source_name"] = to_str(tensor.source_name);
  document["why"] = to_str(tensor.why);
  return document;
}

nb::dict document_of(const TensorComparison& tensor) {
  const bool figures = has_figures(tensor);
  nb::dict document;
  document["name"] = to_str(tensor.name);
  document["result"] = to_str(to_string(tensor.match));
  document["first"] = tensor.match == Match::only_in_second ? nb::none() : nb::object(to_str(name(tensor.first)));
  document["second"] = tensor.match == Match::only_in_first ? nb::none() : nb::object(to_str(name(tensor.second)));
  document["elements"] = tensor.elements;
  document["max_error"] = figures ? finite_or_none(tensor.max_error) : nb::none();
  document["relative_rmse"] = figures ? finite_or_none(tensor.relative_rmse) : nb::none();
  return document;
}

nb::dict document_of(const Plan& plan) {
  nb::dict document;
  document["inputs"] = inputs_of(plan);
  document["output"] = to_str(plan.output().string());
  nb::list files, notes, dropped;
  for (std::size_t i = 0; i < plan.output_files(); ++i) files.append(to_str(plan.output_file(i).string()));
  document["files"] = files;
  document["to"] = to_str(name(plan.to()));
  add_options(document, plan.options());
  document["tensor_count"] = plan.size();
  document["source_bytes"] = plan.source_bytes();
  document["header_bytes"] = plan.header_bytes();
  document["output_bytes"] = plan.output_bytes();
  document["needs_data"] = plan.unmeasured();
  for (const DroppedTensor& tensor : plan.dropped()) dropped.append(document_of(tensor));
  document["dropped"] = dropped;
  document["types"] = totals_by_type(plan);
  for (const std::string& note : plan.notes()) notes.append(to_str(note));
  document["notes"] = notes;
  return document;
}

nb::dict document_with_tensors(const Plan& plan) {
  nb::dict document = document_of(plan);
  nb::list tensors;
  for (std::size_t i = 0; i < plan.size(); ++i) tensors.append(document_of(plan[i]));
  document["tensors"] = tensors;
  return document;
}

nb::dict document_of(const Plan& plan, const ConvertReport& report) {
  nb::dict document = document_of(plan);
  document["bytes_read"] = report.bytes_read;
  document["bytes_written"] = report.bytes_written;
  document["seconds"] = report.seconds;
  document["peak_budget"] = report.peak_budget;
  if (!plan.options().measure) return document;
  nb::list errors;
  for (const TensorError& error : report.errors) errors.append(document_of(plan, error));
  document["errors"] = errors;
  return document;
}

}  // namespace headrace::python
