// From open checkpoints and the caller's wishes to a plan.
//
//   Draft   what each output tensor will be (name, type, shape) and why; known from headers alone
//   Plan    the draft with every byte's place in the output; immutable
#pragma once

#include "plan/plan.hpp"

#include <filesystem>
#include <memory>
#include <span>

namespace headrace::plan {

/// Decisions without places. Reads no tensor.
struct Draft {
  std::vector<Input> inputs;
  std::vector<Plan::Impl::Source> sources;                  // beside `inputs`
  std::shared_ptr<const format::imatrix::Imatrix> imatrix;  // null without files
  std::filesystem::path output;
  Format to = Format::gguf;
  ConvertOptions options;

  std::vector<TensorInfo> tensors;  // offset and bytes are not known yet
  std::vector<Plan::Impl::Origin> origins;
  base::Arena texts;
  Metadata metadata;
  bool keeps_metadata = false;  // the output's is the only source's; `metadata` is empty
  std::vector<std::string> notes;
  bool retyped = false;  // some tensor changes its type
  bool renamed = false;  // names in the sources' metadata mean nothing in the output

  const TensorInfo& source_of(std::size_t i) const noexcept {
    return sources[origins[i].source]->header.tensors.tensors()[origins[i].tensor];
  }
};

/// Opens the inputs and decides names, types, shapes and metadata.
/// Throws Error as plan_conversion does: unsupported names the tensor that can't become what was asked for and the
/// option that settles it, invalid_argument options that contradict each other.
Draft draft_conversion(std::span<const Input> inputs, const std::filesystem::path& output, Format to,
                       const ConvertOptions& options);

/// Gives everything its place.
std::shared_ptr<const Plan::Impl> resolve(Draft draft);

}  // namespace headrace::plan
