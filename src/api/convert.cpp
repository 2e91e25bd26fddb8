#include "flow/convert.hpp"
#include "codec/codec.hpp"
#include "format/checkpoint.hpp"
#include "plan/draft.hpp"

#include <headrace/convert.hpp>
#include <headrace/error.hpp>
#include <headrace/version.hpp>

namespace headrace {

const char* version() noexcept { return HEADRACE_VERSION; }

bool can_make(DType dtype) noexcept { return codec::can_encode(dtype) && !info(dtype).internal; }

Plan plan_conversion(const std::filesystem::path& input, const std::filesystem::path& output,
                     const ConvertOptions& options) {
  const std::optional<Format> to = options.to ? options.to : format_of_suffix(output);
  if (!to) {
    throw Error(ErrorCode::invalid_argument, "the output's format isn't known from its name",
                {.file = output.string(),
                 .expected = "a name ending in .gguf or .safetensors",
                 .hint = "or say --to gguf or --to safetensors"});
  }
  if (options.type && !can_make(*options.type)) {
    throw Error(ErrorCode::invalid_argument, "this version can't make " + std::string(name(*options.type)) + " tensors",
                {.hint = "choose another type"});
  }
  plan::Draft draft = plan::draft_conversion(format::open_checkpoint(input, options.memory), output, *to, options);
  return Plan(plan::resolve(std::move(draft)));
}

ConvertReport convert(const Plan& plan, const ProgressCallback& on_progress, const CancelToken& cancel) {
  return flow::run(plan.impl(), on_progress, cancel);
}

ConvertReport convert(const std::filesystem::path& input, const std::filesystem::path& output,
                      const ConvertOptions& options, const ProgressCallback& on_progress, const CancelToken& cancel) {
  return convert(plan_conversion(input, output, options), on_progress, cancel);
}

}  // namespace headrace
