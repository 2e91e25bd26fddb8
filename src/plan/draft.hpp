// From open checkpoints and the caller's wishes to a plan.
//
//   Draft   what each output tensor will be (name, type, shape) and why; known from headers alone
//   Plan    the draft with every byte's place in the output; immutable
//
// The steps, each a file of its own: gather (all tensors of all inputs) -> shape_list (which, and their names) ->
// derive (joined and cut ones) -> recognise (what model it is) -> decide (types) -> fold_scales (scaled FP8) ->
// weigh (importance) -> metadata and shapes -> resolve (places).
#pragma once

#include "plan/plan.hpp"
#include "plan/prune.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::plan {

/// Types that were found by a look at the data, by the name of their tensor in the output.
using Measured = std::map<std::string, DType, std::less<>>;

/// What a draft is made from.
struct Request {
  std::span<const Input> inputs;
  const std::filesystem::path& output;
  Format to;
  const ConvertOptions& options;
  const std::vector<Source>* opened = nullptr;  // the inputs, where they are open already
  const Measured* measured = nullptr;
  bool in_memory = false;  // see Plan::Impl
};

/// Decisions without places. Reads no tensor.
struct Draft : Material {
  std::shared_ptr<const format::imatrix::Imatrix> imatrix;  // null without files
  std::filesystem::path output;
  Format to = Format::gguf;
  bool in_memory = false;  // see Plan::Impl
  ConvertOptions options;
  Profile profile;  // its rules with those of the architecture before them

  std::vector<TensorInfo> tensors;  // offset and bytes are not known yet
  std::vector<std::uint32_t> unmeasured;
  base::Arena texts;
  Metadata metadata;
  bool keeps_metadata = false;  // the output's is the only source's; `metadata` is empty
  std::vector<std::string> notes;
  std::vector<DroppedTensor> dropped;
  std::optional<std::string> architecture;  // of the output: the caller's, or what the model was recognised as
  std::optional<LayerPruning> pruning;      // of a language model
  std::vector<std::string_view> entries;    // of the importance matrix, beside `tensors`; empty: none has one
  bool retyped = false;                     // some tensor changes its type
  bool renamed = false;                     // or tensors are left out: the sources' metadata speaks of other names
  bool rearranged = false;                  // some tensor's rows have another length than in its source

  std::optional<Format> file_format() const noexcept { return in_memory ? std::nullopt : std::optional(to); }
  /// True when what the tensors go to can hold that type.
  bool holds(DType type) const noexcept { return in_memory || format::holds(to, type); }
  /// Leaves out the tensors whose place in `out` is true.
  void leave_out(const std::vector<bool>& out);
  /// Leaves tensor `i` out, once leave_out is called with `out`, and remembers why.
  void drop(std::size_t i, std::string why, std::vector<bool>& out);
};

/// Opens the inputs and decides names, types, shapes and metadata.
/// Throws Error as plan_conversion does: unsupported names the tensor that can't become what was asked for and the
/// option that settles it, invalid_argument options that contradict each other.
Draft draft_conversion(const Request& request);

/// Gives everything its place.
std::shared_ptr<const Plan::Impl> resolve(Draft draft);

}  // namespace headrace::plan
