// From an open checkpoint and the caller's wishes to a plan.
//
//   Draft   what each output tensor will be (name, type, shape) and why; known from headers alone
//   Plan    the draft with every byte's place in the output; immutable
#pragma once

#include "plan/plan.hpp"

#include <filesystem>
#include <memory>

namespace headrace::plan {

/// Decisions without places. Reads no tensor.
struct Draft {
  std::shared_ptr<const Checkpoint::Impl> source;
  std::filesystem::path output;
  Format to = Format::gguf;
  ConvertOptions options;

  std::vector<TensorInfo> tensors;  // offset and bytes are not known yet
  std::vector<Plan::Impl::Origin> origins;
  base::Arena shapes;
  Metadata metadata;
  bool keeps_metadata = false;  // the output's is the source's; `metadata` is empty
  std::vector<std::string> notes;
  bool retyped = false;  // some tensor changes its type
};

/// Decides types, shapes and metadata. Throws Error(unsupported) naming the tensor that can't become what was asked for
/// and the option that settles it; Error(invalid_argument) for options that contradict each other.
Draft draft_conversion(std::shared_ptr<const Checkpoint::Impl> source, const std::filesystem::path& output, Format to,
                       const ConvertOptions& options);

/// Gives everything its place.
std::shared_ptr<const Plan::Impl> resolve(Draft draft);

}  // namespace headrace::plan
