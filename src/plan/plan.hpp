// Plan::Impl: the resolved plan, as the flow runs it.
#pragma once

#include "base/arena.hpp"
#include "format/checkpoint.hpp"
#include "format/imatrix/imatrix.hpp"
#include "format/writer.hpp"

#include <headrace/plan.hpp>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace headrace {

struct Plan::Impl {
  using Source = std::shared_ptr<const Checkpoint::Impl>;

  /// Where an output tensor's numbers come from, and why it has its type.
  struct Origin {
    static constexpr std::uint16_t kNoRule = std::numeric_limits<std::uint16_t>::max();

    std::uint32_t source;  // index in `sources`
    std::uint32_t tensor;  // index in that source's tensors
    Reason why;
    Importance importance = Importance::none;
    std::uint16_t rule = kNoRule;  // index in options.type_rules
  };

  std::vector<Input> inputs;
  std::vector<Source> sources;                              // beside `inputs`
  std::shared_ptr<const format::imatrix::Imatrix> imatrix;  // null without files
  std::filesystem::path output;
  Format to = Format::gguf;
  ConvertOptions options;

  std::vector<TensorInfo> tensors;           // of the output, in the order of its header
  std::vector<Origin> origins;               // beside `tensors`
  std::vector<std::uint32_t> by_source;      // indexes into `tensors`, in the order their bytes have in the sources
  base::Arena texts;                         // names and shapes that aren't their source's
  std::shared_ptr<const Metadata> metadata;  // the source's own where nothing in it changes
  std::vector<std::string> notes;
  format::Outputs outputs;
  std::uint64_t source_bytes = 0;

  const TensorInfo& source_of(std::uint32_t i) const noexcept {
    return sources[origins[i].source]->header.tensors.tensors()[origins[i].tensor];
  }
  /// The name under which the importance matrix has tensor `i`: the output's, else the source's.
  std::string_view name_in_imatrix(std::uint32_t i) const {
    return imatrix->size_of(tensors[i].name) ? tensors[i].name : source_of(i).name;
  }
  const io::ByteSource& file_of(std::uint32_t i) const noexcept {
    return sources[origins[i].source]->file_of(source_of(i));
  }
  /// True when output tensor `i` must be read in its turn.
  bool comes_once(std::uint32_t i) const noexcept { return file_of(i).access() == Access::forward; }

  /// True for every file of this machine that was opened for an input.
  bool is_input(const io::FileId& file) const noexcept;

  /// Bytes that the plan itself holds, its sources apart.
  std::size_t memory() const noexcept;
};

namespace plan {

/// Bytes that the indexes of all sources hold.
std::size_t memory_of(const std::vector<Plan::Impl::Source>& sources) noexcept;

}  // namespace plan
}  // namespace headrace
