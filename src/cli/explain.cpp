#include "cli/explain.hpp"

#include "cli/arguments.hpp"
#include "cli/dry_run.hpp"
#include "cli/json.hpp"
#include "cli/text.hpp"

#include <fmt/format.h>

#include <vector>

namespace headrace::cli {
namespace {

void print_tensor(Output& out, const Plan& plan, const PlannedTensor& tensor) {
  out.print("tensor   {}\n", safe(tensor.name));
  out.print("from     {} in {}", safe(tensor.source_name), safe(plan.inputs()[tensor.input].location));
  if (tensor.sources > 1) out.print(", and {} more", tensor.sources - 1);
  out.print("\ntype     {} -> {}\n", name(tensor.from), name(tensor.to));
  out.print("shape    {}", to_string(tensor.shape));
  if (to_string(tensor.shape) != to_string(tensor.source_shape)) out.print(" from {}", to_string(tensor.source_shape));
  out.print("\nbytes    {} -> {}\n", grouped(tensor.source_bytes), grouped(tensor.bytes));
  out.print("why      {}\n", safe(explain(tensor)));
}

void print_dropped(Output& out, const Plan& plan, const DroppedTensor& tensor) {
  out.print("tensor   {}\n", safe(tensor.name));
  out.print("from     {} in {}\n", safe(tensor.source_name), safe(plan.inputs()[tensor.input].location));
  out.print("why      left out: {}\n", safe(tensor.why));
}

}  // namespace

void print_explanation(Output& out, const Plan& plan, const std::string& name, bool json) {
  std::vector<PlannedTensor> kept;
  std::vector<DroppedTensor> dropped;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const PlannedTensor tensor = plan[i];
    if (tensor.name == name || plan.is_made_of(i, name)) kept.push_back(tensor);
  }
  for (const DroppedTensor& tensor : plan.dropped()) {
    if (tensor.name == name || tensor.source_name == name) dropped.push_back(tensor);
  }
  if (kept.empty() && dropped.empty()) {
    throw UsageError(fmt::format(
        "--explain: there is no tensor '{}', neither in the output nor in the inputs; --dry-run lists them", name));
  }
  if (json) {
    JsonDocument document(out);
    document.begin_list("tensors");
    for (const PlannedTensor& tensor : kept) document.element(json_of(tensor));
    document.end_list();
    document.begin_list("dropped");
    for (const DroppedTensor& tensor : dropped) document.element(json_of(tensor));
    document.end_list();
    document.end();
    return;
  }
  const char* between = "";
  for (const PlannedTensor& tensor : kept) {
    out.write(between);
    print_tensor(out, plan, tensor);
    between = "\n";
  }
  for (const DroppedTensor& tensor : dropped) {
    out.write(between);
    print_dropped(out, plan, tensor);
    between = "\n";
  }
}

}  // namespace headrace::cli
