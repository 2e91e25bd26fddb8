#include "flow/convert.hpp"
#include "codec/codec.hpp"
#include "flow/measure.hpp"
#include "plan/draft.hpp"

#include <headrace/convert.hpp>
#include <headrace/error.hpp>
#include <headrace/version.hpp>

namespace headrace {
namespace {

void require_makeable(DType type) {
  if (can_make(type)) return;
  throw Error(ErrorCode::invalid_argument, "this version can't make " + std::string(name(type)) + " tensors",
              {.hint = "choose another type"});
}

}  // namespace

const char* version() noexcept { return HEADRACE_VERSION; }

Plan plan_conversion(std::span<const Input> inputs, const std::filesystem::path& output,
                     const ConvertOptions& options) {
  const std::optional<Format> to = options.to ? options.to : format_of_suffix(output);
  if (!to) {
    throw Error(ErrorCode::invalid_argument, "the output's format isn't known from its name",
                {.file = output.string(),
                 .expected = "a name ending in .gguf or .safetensors",
                 .hint = "or say --to gguf or --to safetensors"});
  }
  if (options.type) require_makeable(*options.type);
  for (const Rule& rule : options.rules) {
    for (const DType type : rule.action.types) require_makeable(type);
  }
  return Plan(plan::resolve(plan::draft_conversion({inputs, output, *to, options})));
}

Plan plan_conversion(const std::string& input, const std::filesystem::path& output, const ConvertOptions& options) {
  const Input only{input};
  return plan_conversion(std::span(&only, 1), output, options);
}

Plan measure(const Plan& plan, const ProgressCallback& on_progress, const CancelToken& cancel) {
  const Plan::Impl& impl = plan.impl();
  if (impl.unmeasured.empty()) return plan;
  const plan::Measured measured = flow::measure(impl, on_progress, cancel);
  return Plan(plan::resolve(
      plan::draft_conversion({impl.inputs, impl.output, impl.to, impl.options, &impl.sources, &measured})));
}

ConvertReport convert(const Plan& plan, const ProgressCallback& on_progress, const CancelToken& cancel) {
  return flow::run(measure(plan, on_progress, cancel).impl(), on_progress, cancel);
}

ConvertReport convert(const std::string& input, const std::filesystem::path& output, const ConvertOptions& options,
                      const ProgressCallback& on_progress, const CancelToken& cancel) {
  return convert(plan_conversion(input, output, options), on_progress, cancel);
}

}  // namespace headrace
