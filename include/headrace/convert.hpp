// convert: a checkpoint in one format and type becomes a new file in another, in bounded memory.
//
//   headrace::convert("model.safetensors", "model.gguf", {.type = headrace::DType::Q8_0});
//
// or in two steps, to look before it leaps:
//
//   headrace::Plan plan = headrace::plan_conversion("model.safetensors", "model.gguf", options);
//   headrace::convert(plan);
#pragma once

#include <headrace/cancel.hpp>
#include <headrace/plan.hpp>
#include <headrace/progress.hpp>
#include <headrace/retype.hpp>  // IWYU pragma: export

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace headrace {

/// Reads the inputs' headers and decides everything; reads no tensor and writes nothing. Several inputs make one file;
/// its tensors come in the order of the inputs.
/// Throws Error: io, format, budget, cancelled as Checkpoint::open does; invalid_argument when there is no input, when
/// neither `options.to` nor the output's suffix gives a format, for options that contradict each other, for a rule or
/// another pattern that is bad or matches nothing, and when no tensor would be left; conflict when two tensors would
/// have one name; unsupported when a tensor can't be held or made in the output's format.
Plan plan_conversion(std::span<const Input> inputs, const std::filesystem::path& output,
                     const ConvertOptions& options = {});
/// The same for a single input, its names as they are.
Plan plan_conversion(const std::string& input, const std::filesystem::path& output, const ConvertOptions& options = {});

/// How far a tensor is from what it was made of: w the source's numbers, v the output's.
struct TensorError {
  std::string name = {};     ///< of the tensor in the output
  std::size_t tensor = 0;    ///< index in the plan that was carried out: see measure()
  double relative_rmse = 0;  ///< √(Σ(w − v)² / Σw²)
  double max_error = 0;      ///< largest |w − v|
  double cosine = 1;         ///< Σwv / √(Σw² Σv²)
};

struct ConvertReport {
  std::uint64_t bytes_read = 0;     ///< of tensors
  std::uint64_t bytes_written = 0;  ///< of the whole file
  double seconds = 0;
  std::uint64_t peak_budget = 0;  ///< most bytes of the budget that were held at once
  /// With options.measure: of the tensors that changed their type, in the order of the plan; the others are as they
  /// were. The figures don't depend on threads, memory or processor.
  std::vector<TensorError> errors = {};
};

/// Looks at the data of the tensors that wait for it (Plan::unmeasured), in one pass over them, and gives the plan in
/// which nothing waits any more: a tensor gets the smallest type of its rule's whose relative RMSE is within the limit.
/// A plan in which nothing waits comes back as it is. Throws Error: io, budget, cancelled; unsupported for a stream,
/// whose bytes come only once.
Plan measure(const Plan& plan, const ProgressCallback& on_progress = {}, const CancelToken& cancel = {});

/// Carries a plan out, having measured what waits for it. The output appears under its name complete and flushed, or
/// not at all. The bytes written depend on the plan alone: not on threads, memory or processor. Throws Error: conflict
/// (the output exists and `force` is off, or it is an input: see Plan::is_input), no_space and budget (before anything
/// is converted), value, io, cancelled. Errors of workers reach the caller; of several, the earliest tensor's.
ConvertReport convert(const Plan& plan, const ProgressCallback& on_progress = {}, const CancelToken& cancel = {});

/// plan_conversion and convert in one. While the inputs are opened, `options.source.cancel` is heeded, not `cancel`.
ConvertReport convert(const std::string& input, const std::filesystem::path& output, const ConvertOptions& options = {},
                      const ProgressCallback& on_progress = {}, const CancelToken& cancel = {});

}  // namespace headrace
