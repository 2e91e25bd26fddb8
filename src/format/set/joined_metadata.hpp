// JoinedMetadata: what the members of a set say together.
#pragma once

#include "format/allowance.hpp"
#include "format/name_index.hpp"

#include <headrace/metadata.hpp>

#include <cstdint>
#include <vector>

namespace headrace::format::set {

/// Which pairs the whole keeps. One on which members disagree speaks of a member, and goes.
enum class KeptPairs : std::uint8_t {
  of_any,  ///< the parts of one model: what one says holds for all
  of_all,  ///< models side by side: what all of them say
};

/// Pairs come in the order in which their keys were first seen. Not thread-safe.
class JoinedMetadata {
 public:
  /// `held`: bytes that others hold meanwhile. Throws Error(budget).
  void add(Metadata pairs, const Allowance& allowance, std::uint64_t held);
  Metadata take(KeptPairs kept, const Allowance& allowance, std::uint64_t held) &&;

  std::uint64_t memory() const noexcept {
    return pairs_.memory() + states_.capacity() * sizeof(State) + keys_.memory();
  }

 private:
  struct State {
    std::uint32_t members;  // that have the key
    bool agreed;
  };
  void index_first(const Allowance& allowance, std::uint64_t held);
  void append(std::string_view key, const MetadataValue& value, const Allowance& allowance, std::uint64_t held);

  Metadata pairs_;
  std::vector<State> states_;  // beside pairs_
  NameIndex keys_;
  std::uint32_t members_ = 0;
};

}  // namespace headrace::format::set
