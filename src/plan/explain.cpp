// The plan in words.
#include <headrace/plan.hpp>

#include <fmt/format.h>

namespace headrace {

std::string explain(const PlannedTensor& tensor) {
  switch (tensor.why) {
    case Reason::kept: return "kept";
    case Reason::already: return fmt::format("already {}", name(tensor.to));
    case Reason::requested: return fmt::format("--type {}", name(tensor.to));
    case Reason::rule: return fmt::format("rule '{}={}'", tensor.rule, name(tensor.to));
    case Reason::skipped: return "kept: on the skip list";
    case Reason::not_float: return fmt::format("kept: {} is never retyped", name(tensor.to));
    case Reason::one_dimensional: return "vectors stay exact: F32";
    case Reason::kept_wide: return "kept: a vector of F64";
    case Reason::row_fallback:
      return fmt::format("{}row of {} isn't whole blocks of {}",
                         tensor.rule.empty() ? "" : fmt::format("rule '{}': ", tensor.rule),
                         tensor.source_shape.empty() ? 1 : tensor.source_shape.back(),
                         tensor.asked ? info(*tensor.asked).block_elements : 0);
  }
  return {};
}

}  // namespace headrace
