// Material: what the tensors of an output are made of.
#pragma once

#include "format/checkpoint.hpp"
#include "plan/derived.hpp"

#include <headrace/plan.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace headrace::plan {

/// Where an output tensor's numbers come from, and why it has its type.
struct Origin {
  static constexpr std::uint16_t kNoRule = std::numeric_limits<std::uint16_t>::max();
  static constexpr std::uint32_t kDerived = std::numeric_limits<std::uint32_t>::max();

  std::uint32_t source;  // index in Material::sources; kDerived: `tensor` is an index in `derived`
  std::uint32_t tensor;  // index in that source's tensors
  Reason why;
  Importance importance = Importance::none;
  std::uint16_t rule = kNoRule;  // that decided: index in the options' rules, or in the profile's
  bool by_profile = false;
};

using Source = std::shared_ptr<const Checkpoint::Impl>;

struct Material {
  std::vector<Input> inputs;
  std::vector<Source> sources;   // beside `inputs`
  std::vector<Derived> derived;  // tensors made of others
  std::vector<Origin> origins;   // of the output's tensors

  /// The tensor whose numbers output tensor `i` is made of: an input's, or a derived one.
  const TensorInfo& source_of(std::size_t i) const noexcept {
    const Origin& origin = origins[i];
    return origin.source == Origin::kDerived ? derived[origin.tensor].info : at({origin.source, origin.tensor});
  }
  /// Null for a tensor that is an input's as it is.
  const Derived* derived_of(std::size_t i) const noexcept {
    return origins[i].source == Origin::kDerived ? &derived[origins[i].tensor] : nullptr;
  }
  /// The input's tensor that the numbers of tensor `i` are, or begin with.
  TensorRef first_of(std::size_t i) const noexcept {
    const Derived* made = derived_of(i);
    return made ? made->ranges.front().from : TensorRef{origins[i].source, origins[i].tensor};
  }
  const TensorInfo& at(TensorRef ref) const noexcept {
    return sources[ref.source]->header.tensors.tensors()[ref.tensor];
  }
  const io::ByteSource& file_of(TensorRef ref) const noexcept { return sources[ref.source]->file_of(at(ref)); }
  const io::ByteSource& file_of(std::size_t i) const noexcept { return file_of(first_of(i)); }
  const Checkpoint::Impl& checkpoint_of(std::size_t i) const noexcept { return *sources[first_of(i).source]; }
  /// True when output tensor `i` must be read in its turn.
  bool comes_once(std::size_t i) const noexcept { return file_of(i).access() == Access::forward; }

  /// The ranges that tensor `i` consists of; one for an input's own.
  std::vector<Range> ranges_of(std::size_t i) const;
  /// Bytes in the inputs of all that tensor `i` is made of, or of some of its elements, scales apart.
  std::uint64_t bytes_in_inputs(std::size_t i) const noexcept { return bytes_in_inputs(i, source_of(i).elements); }
  std::uint64_t bytes_in_inputs(std::size_t i, std::uint64_t elements) const noexcept;

  /// Bytes that the lists hold, the sources apart.
  std::size_t memory_of_lists() const noexcept;
};

/// Bytes that the indexes of all sources hold.
std::size_t memory_of(const std::vector<Source>& sources) noexcept;

}  // namespace headrace::plan
