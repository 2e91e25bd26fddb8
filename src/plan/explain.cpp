// The plan in words.
#include <headrace/plan.hpp>

#include <fmt/format.h>

namespace headrace {
namespace {

std::string explain_fallback(const PlannedTensor& tensor) {
  const DType asked = tensor.asked.value_or(tensor.to);
  const std::string by =
      tensor.rule.empty() ? "" : fmt::format("{} '{}': ", tensor.by_profile ? "profile:" : "rule", tensor.rule);
  if (asked == tensor.to) return by + "rows of another length than the type asked for takes";
  if (!is_block(asked)) {  // F4 and F6 pack numbers across rows
    return fmt::format("{}its numbers aren't a multiple of {}", by, info(asked).block_elements);
  }
  const std::uint64_t row = tensor.source_shape.empty() ? 1 : tensor.source_shape.back();
  return fmt::format("{}row of {} isn't whole blocks of {}", by, row, info(asked).block_elements);
}

std::string reason(const PlannedTensor& tensor) {
  switch (tensor.why) {
    case Reason::kept: return "kept";
    case Reason::already:
      return fmt::format("{}already {}", tensor.rule.empty() ? "" : fmt::format("rule '{}': ", tensor.rule),
                         name(tensor.to));
    case Reason::requested: return fmt::format("--type {}", name(tensor.to));
    case Reason::rule: return fmt::format("rule '{}'", tensor.rule);
    case Reason::profile:
      return tensor.rule.empty() ? "the profile's way with such tensors" : fmt::format("profile: '{}'", tensor.rule);
    case Reason::recipe: return fmt::format("the recipe: {}", name(tensor.to));
    case Reason::left_by_recipe: return "kept: the recipe leaves it";
    case Reason::measured: return fmt::format("rule '{}', measured", tensor.rule);
    case Reason::unmeasured:
      return fmt::format("rule '{}': {} at most, the data decides", tensor.rule, name(tensor.to));
    case Reason::scale: return "kept: a scale of 8-bit floats";
    case Reason::not_float: return fmt::format("kept: {} is never retyped", name(tensor.to));
    case Reason::one_dimensional: return "vectors stay exact: F32";
    case Reason::kept_wide: return "kept: a vector of F64";
    case Reason::row_fallback: return explain_fallback(tensor);
  }
  return {};
}

}  // namespace

std::string explain(const PlannedTensor& tensor) {
  std::string text = reason(tensor);
  if (tensor.importance == Importance::ones) text += ", weights of 1";
  if (tensor.importance == Importance::file) text += ", by the importance matrix";
  if (tensor.scaled) text += ", scale folded in";
  if (tensor.sources > 1) text += fmt::format(", joined from {}", tensor.sources);
  if (tensor.is_part) text += fmt::format(", a part of '{}'", tensor.source_name);
  return text;
}

}  // namespace headrace
