// Joiner: several files' contents become one list of tensors.
#pragma once

#include "format/allowance.hpp"
#include "format/contents.hpp"
#include "format/set/joined_metadata.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace headrace::format::set {

/// Takes the members of a set one after the other, each of which is gone once it is taken: what is held at any time is
/// the joined list and one member. Not thread-safe.
class Joiner {
 public:
  /// `set`: as errors call the whole. `memory` bytes may be held, `others` of which are held elsewhere.
  Joiner(std::string set, std::uint64_t memory, std::uint64_t others = 0);

  /// Room for so many tensors, where their number is known and plausible: a list that grows is held twice.
  void reserve(std::size_t tensors);

  /// Adds a member's files and tensors, in its order; names get the prefix unless they have it already.
  /// Throws Error: conflict (naming the tensor and both files), budget, unsupported (too many tensors or files).
  void add(Contents member, std::string_view prefix = {});

  /// All that was added. The format is the first member's; so is the rest of what files of one format share.
  Contents take(KeptPairs pairs) &&;

  /// Bytes that the next member may take while it is opened.
  std::uint64_t memory_left() const noexcept;
  /// Bytes held here.
  std::uint64_t memory() const noexcept;
  std::uint64_t memory_allowed() const noexcept { return memory_; }
  /// Says that members which wait for their turn hold so much.
  void set_waiting(std::uint64_t bytes) noexcept { waiting_ = bytes; }

  const TensorTable& tensors() const noexcept { return joined_.header.tensors; }
  const std::string& file_of(const TensorInfo& tensor) const noexcept { return joined_.files[tensor.file]->name(); }

 private:
  void begin(const Header& first);
  void add_tensors(const Contents& member, std::string_view prefix);
  [[noreturn]] void refuse_duplicate(const TensorInfo& again, const Contents& member) const;

  std::string set_;
  std::uint64_t memory_, others_, waiting_ = 0;
  Allowance allowance_;
  Contents joined_;
  JoinedMetadata metadata_;
};

}  // namespace headrace::format::set
