// Plan::Impl: the resolved plan, as the flow runs it.
#pragma once

#include "base/arena.hpp"
#include "format/imatrix/imatrix.hpp"
#include "format/writer.hpp"
#include "plan/material.hpp"
#include "plan/profile.hpp"

#include <headrace/plan.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

struct Plan::Impl : plan::Material {
  std::shared_ptr<const format::imatrix::Imatrix> imatrix;  // null without files
  std::filesystem::path output;
  Format to = Format::gguf;
  bool in_memory = false;  // the tensors go to memory, in the shapes that `to` has; there is no file
  ConvertOptions options;
  plan::Profile profile;

  std::vector<TensorInfo> tensors;           // of the output, in the order of its header; beside `origins`
  std::vector<std::string> rule_texts;       // of options.rules, then of profile.rules
  std::vector<std::uint32_t> by_source;      // indexes into `tensors`, in the order their bytes have in the sources
  std::vector<std::string_view> entries;     // of the importance matrix, beside `tensors`; empty: none has one
  std::vector<std::uint32_t> unmeasured;     // indexes into `tensors`: those that wait for a look at their data
  base::Arena texts;                         // names and shapes that aren't their source's
  std::shared_ptr<const Metadata> metadata;  // the source's own where nothing in it changes
  std::vector<std::string> notes;
  std::vector<DroppedTensor> dropped;
  format::Outputs outputs;
  std::uint64_t source_bytes = 0;

  /// The rule that decided tensor `i`; null where none did.
  const Rule* rule_of(std::size_t i) const noexcept {
    const plan::Origin& origin = origins[i];
    if (origin.rule == plan::Origin::kNoRule) return nullptr;
    return origin.by_profile ? &profile.rules[origin.rule] : &options.rules[origin.rule];
  }
  std::string_view rule_text_of(std::size_t i) const noexcept {
    const plan::Origin& origin = origins[i];
    if (origin.rule == plan::Origin::kNoRule) return {};
    return rule_texts[origin.rule + (origin.by_profile ? options.rules.size() : 0)];
  }
  /// What has to hold the tensors; nothing where it is memory.
  std::optional<Format> file_format() const noexcept { return in_memory ? std::nullopt : std::optional(to); }
  /// True when some tensor changes its type.
  bool retyped() const noexcept;
  /// True for a file that an input is read from, or that led to one.
  bool is_input(const io::FileId& file) const noexcept;

  /// Bytes that the plan itself holds, its sources apart.
  std::size_t memory() const noexcept;
};

}  // namespace headrace
