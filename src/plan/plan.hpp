// Plan::Impl: the resolved plan, as the flow runs it.
#pragma once

#include "base/arena.hpp"
#include "format/checkpoint.hpp"
#include "format/layout.hpp"

#include <headrace/plan.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace headrace {

struct Plan::Impl {
  /// Where an output tensor's numbers come from, and why it has its type.
  struct Origin {
    std::uint32_t source;  // index in the source's tensors
    Reason why;
  };

  std::shared_ptr<const Checkpoint::Impl> source;
  std::filesystem::path output;
  Format to = Format::gguf;
  ConvertOptions options;

  std::vector<TensorInfo> tensors;           // of the output, in the order of its header
  std::vector<Origin> origins;               // beside `tensors`
  std::vector<std::uint32_t> by_source;      // indexes into `tensors`, in the order their bytes have in the source
  base::Arena shapes;                        // of tensors that don't keep their source's
  std::shared_ptr<const Metadata> metadata;  // the source's own where nothing in it changes
  std::vector<std::string> notes;
  format::Layout layout;
  std::uint64_t source_bytes = 0;

  const TensorInfo& source_of(std::uint32_t i) const noexcept {
    return source->header.tensors.tensors()[origins[i].source];
  }
  std::size_t memory() const noexcept;
};

}  // namespace headrace
