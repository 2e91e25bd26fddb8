// The plan in words.
#include <headrace/plan.hpp>

#include <fmt/format.h>

namespace headrace {
namespace {

std::string explain_fallback(const PlannedTensor& tensor) {
  const DType asked = tensor.asked.value_or(tensor.to);
  const std::string by = tensor.rule.empty() ? "" : fmt::format("rule '{}': ", tensor.rule);
  if (!is_block(asked)) {  // F4 and F6 pack numbers across rows
    return fmt::format("{}its numbers aren't a multiple of {}", by, info(asked).block_elements);
  }
  const std::uint64_t row = tensor.source_shape.empty() ? 1 : tensor.source_shape.back();
  return fmt::format("{}row of {} isn't whole blocks of {}", by, row, info(asked).block_elements);
}

std::string reason(const PlannedTensor& tensor) {
  switch (tensor.why) {
    case Reason::kept: return "kept";
    case Reason::already: return fmt::format("already {}", name(tensor.to));
    case Reason::requested: return fmt::format("--type {}", name(tensor.to));
    case Reason::rule: return fmt::format("rule '{}={}'", tensor.rule, name(tensor.to));
    case Reason::skipped: return "kept: the skip list leaves it";
    case Reason::not_float: return fmt::format("kept: {} is never retyped", name(tensor.to));
    case Reason::one_dimensional: return "vectors stay exact: F32";
    case Reason::kept_wide: return "kept: a vector of F64";
    case Reason::row_fallback: return explain_fallback(tensor);
  }
  return {};
}

}  // namespace

std::string explain(const PlannedTensor& tensor) {
  switch (tensor.importance) {
    case Importance::none: return reason(tensor);
    case Importance::ones: return reason(tensor) + ", weights of 1";
    case Importance::file: return reason(tensor) + ", by the importance matrix";
  }
  return {};
}

}  // namespace headrace
