#include "cli/verdict.hpp"

#include "cli/json.hpp"
#include "cli/table.hpp"
#include "cli/text.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace headrace::cli {
namespace {

bool has_figures(const TensorComparison& tensor) {
  return tensor.match == Match::identical || tensor.match == Match::compared;
}

// NaN compares as false with everything; this makes it the largest error of all.
double severity(double figure) { return std::isnan(figure) ? std::numeric_limits<double>::infinity() : figure; }

bool other_numbers(const TensorComparison& tensor) {
  return tensor.match == Match::compared && (severity(tensor.max_error) > 0 || severity(tensor.relative_rmse) > 0);
}

bool is_over(const TensorComparison& tensor, double limit) {
  return !std::isfinite(tensor.max_error) || !(tensor.relative_rmse <= limit);
}

void keep_worst(const TensorComparison*& worst, const TensorComparison& tensor, double TensorComparison::*figure) {
  if (worst == nullptr || severity(tensor.*figure) > severity(worst->*figure)) worst = &tensor;
}

void count_compared(Verdict& verdict, const TensorComparison& tensor) {
  if (!other_numbers(tensor)) {
    ++verdict.equal;
    return;
  }
  ++verdict.differing;
  if (!std::isfinite(tensor.max_error)) ++verdict.not_finite;
  keep_worst(verdict.worst_error, tensor, &TensorComparison::max_error);
  keep_worst(verdict.worst_rmse, tensor, &TensorComparison::relative_rmse);
  // A limit of 0 asks for equal numbers: also where all of A is 0, or the figure is too small to be told from 0.
  const bool must_be_equal = verdict.max_rmse == 0.0;
  if (verdict.max_rmse && (must_be_equal || is_over(tensor, *verdict.max_rmse))) ++verdict.over_limit;
}

std::string figure_text(double figure) { return fmt::format("{:.4g}", figure); }

std::vector<const TensorComparison*> listed(const VerifyReport& report, bool all) {
  std::vector<const TensorComparison*> tensors;
  for (const TensorComparison& tensor : report.tensors) {
    if (all || (tensor.match != Match::identical && (tensor.match != Match::compared || other_numbers(tensor)))) {
      tensors.push_back(&tensor);
    }
  }
  return tensors;
}

void print_tensors(Output& out, const std::vector<const TensorComparison*>& tensors) {
  constexpr std::array kColumns{Column{"tensor"},
                                Column{"A"},
                                Column{"B"},
                                Column{"result"},
                                Column{"max error", Align::right},
                                Column{"relative RMSE", Align::right}};
  print_table(out, kColumns, tensors.size(), [&](std::size_t i, Row& row) {
    const TensorComparison& tensor = *tensors[i];
    append_safe(row[0], tensor.name);
    row[1] = tensor.match == Match::only_in_second ? "-" : name(tensor.first);
    row[2] = tensor.match == Match::only_in_first ? "-" : name(tensor.second);
    row[3] = to_string(tensor.match);
    row[4] = has_figures(tensor) ? figure_text(tensor.max_error) : "-";
    row[5] = has_figures(tensor) ? figure_text(tensor.relative_rmse) : "-";
  });
  out.write("\n");
}

void print_count(Output& out, std::size_t count, std::string_view what) {
  if (count != 0) out.print("  {} {}\n", grouped(count), what);
}

Json figure(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json worst(const TensorComparison* tensor, double TensorComparison::*value) {
  if (tensor == nullptr) return nullptr;
  return {{"tensor", tensor->name}, {"value", figure(tensor->*value)}};
}

Json row(const TensorComparison& tensor) {
  return {{"name", tensor.name},
          {"result", to_string(tensor.match)},
          {"first", tensor.match == Match::only_in_second ? Json(nullptr) : Json(name(tensor.first))},
          {"second", tensor.match == Match::only_in_first ? Json(nullptr) : Json(name(tensor.second))},
          {"elements", tensor.elements},
          {"max_error", has_figures(tensor) ? figure(tensor.max_error) : Json(nullptr)},
          {"relative_rmse", has_figures(tensor) ? figure(tensor.relative_rmse) : Json(nullptr)}};
}

}  // namespace

Verdict judge(const VerifyReport& report, std::optional<double> max_rmse) {
  Verdict verdict;
  verdict.max_rmse = max_rmse;
  for (const TensorComparison& tensor : report.tensors) {
    switch (tensor.match) {
      case Match::identical: ++verdict.identical; break;
      case Match::compared: count_compared(verdict, tensor); break;
      case Match::shape_differs:
      case Match::type_differs:
      case Match::bytes_differ: ++verdict.not_comparable; break;
      case Match::only_in_first: ++verdict.only_in_first; break;
      case Match::only_in_second: ++verdict.only_in_second; break;
    }
  }
  return verdict;
}

void print_verdict(Output& out, const VerifyReport& report, const Verdict& verdict, bool all) {
  const std::vector<const TensorComparison*> tensors = listed(report, all);
  if (!tensors.empty()) print_tensors(out, tensors);
  if (report.files_identical) {
    out.print("identical files ({} tensors)\n", grouped(report.tensors.size()));
    return;
  }
  out.print("{} tensor{}:\n", grouped(report.tensors.size()), report.tensors.size() == 1 ? "" : "s");
  print_count(out, verdict.identical, "identical");
  print_count(out, verdict.equal, "with the same numbers in other bytes");
  print_count(out, verdict.differing, "with other numbers");
  print_count(out, verdict.not_finite, "of these with NaN or infinity on one side only");
  print_count(out, verdict.not_comparable, "that can't be compared");
  print_count(out, verdict.only_in_first, "only in A");
  print_count(out, verdict.only_in_second, "only in B");
  if (verdict.worst_error != nullptr) {
    out.print("worst max error      {}  {}\n", figure_text(verdict.worst_error->max_error),
              safe(verdict.worst_error->name));
    out.print("worst relative RMSE  {}  {}\n", figure_text(verdict.worst_rmse->relative_rmse),
              safe(verdict.worst_rmse->name));
  }
  out.print("metadata             {}\n", report.metadata_identical ? "identical" : "differs");
  if (verdict.over_limit != 0) {
    out.print("{} over the limit of {}\n", grouped(verdict.over_limit), *verdict.max_rmse);
  }
  out.write(verdict.good() ? "match\n" : "no match\n");
}

void print_verdict_json(Output& out, const std::pair<std::string_view, std::string_view>& files,
                        const VerifyReport& report, const Verdict& verdict, bool all) {
  JsonDocument document(out);
  document.member("first", files.first);
  document.member("second", files.second);
  document.member("match", verdict.good());
  document.member("files_identical", report.files_identical);
  document.member("metadata_identical", report.metadata_identical);
  document.member("max_rmse", verdict.max_rmse ? Json(*verdict.max_rmse) : Json(nullptr));
  document.member("tensor_count", report.tensors.size());
  document.member("identical", verdict.identical);
  document.member("equal", verdict.equal);
  document.member("differing", verdict.differing);
  document.member("not_comparable", verdict.not_comparable);
  document.member("only_in_first", verdict.only_in_first);
  document.member("only_in_second", verdict.only_in_second);
  document.member("not_finite", verdict.not_finite);
  document.member("over_limit", verdict.over_limit);
  document.member("worst_max_error", worst(verdict.worst_error, &TensorComparison::max_error));
  document.member("worst_relative_rmse", worst(verdict.worst_rmse, &TensorComparison::relative_rmse));
  document.begin_list("tensors");
  for (const TensorComparison* tensor : listed(report, all)) {
    if (out.closed()) break;
    document.element(row(*tensor));
  }
  document.end_list();
  document.end();
}

}  // namespace headrace::cli
