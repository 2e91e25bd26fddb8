#include "format/set/joined_metadata.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

namespace headrace::format::set {
namespace {

constexpr std::uint64_t kEntryBytes = 64;  // what a pair takes beside its key and value, rounded up

auto key_getter(const Metadata& pairs) {
  return [&pairs](std::size_t i) { return pairs.key(i); };
}

bool same(const MetadataValue& a, const MetadataValue& b) {
  return a.type() == b.type() && std::ranges::equal(a.bytes(), b.bytes());
}

}  // namespace

void JoinedMetadata::add(Metadata pairs, const Allowance& allowance, std::uint64_t held) {
  ++members_;
  if (pairs.empty()) return;
  if (pairs_.empty()) {
    pairs_ = std::move(pairs);
    return index_first(allowance, held);
  }
  held += pairs.memory();
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const std::optional<std::size_t> known = keys_.find(pairs.key(i), key_getter(pairs_));
    if (!known) {
      append(pairs.key(i), pairs.value(i), allowance, held);
      continue;
    }
    State& state = states_[*known];
    ++state.members;
    state.agreed = state.agreed && same(pairs_.value(*known), pairs.value(i));
  }
}

// Most members say the same few things as the first, whose pairs are kept as they came.
void JoinedMetadata::index_first(const Allowance& allowance, std::uint64_t held) {
  constexpr std::uint64_t kSlots = 4 * sizeof(std::uint32_t);  // of a key at most, in the index
  allowance.require(held + memory() + pairs_.size() * (sizeof(State) + kSlots) + 16 * sizeof(std::uint32_t));
  states_.assign(pairs_.size(), {.members = 1, .agreed = true});
  keys_.reserve(pairs_.size(), key_getter(pairs_));
  for (std::size_t i = 0; i < pairs_.size(); ++i) keys_.add(pairs_.key(i), key_getter(pairs_));
}

void JoinedMetadata::append(std::string_view key, const MetadataValue& value, const Allowance& allowance,
                            std::uint64_t held) {
  // A list that grows is held beside its successor of up to twice its size.
  const std::uint64_t growth =
      2 * (pairs_.memory() + states_.capacity() * sizeof(State)) + key.size() + value.bytes().size() + kEntryBytes;
  allowance.require(held + memory() + growth + keys_.memory_while_adding() - keys_.memory());
  keys_.add(key, key_getter(pairs_));
  pairs_.append(key, value.type(), value.bytes());
  states_.push_back({.members = 1, .agreed = true});
}

Metadata JoinedMetadata::take(KeptPairs kept, const Allowance& allowance, std::uint64_t held) && {
  const auto stays = [&](const State& state) {
    return state.agreed && (kept == KeptPairs::of_any || state.members == members_);
  };
  if (std::ranges::all_of(states_, stays)) return std::move(pairs_);
  std::size_t count = 0, bytes = 0;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (!stays(states_[i])) continue;
    ++count;
    bytes += pairs_.key(i).size() + pairs_.value(i).bytes().size();
  }
  allowance.require(held + memory() + bytes + count * kEntryBytes);
  Metadata out;
  out.reserve(count, bytes);
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (stays(states_[i])) out.append(pairs_.key(i), pairs_.value(i).type(), pairs_.value(i).bytes());
  }
  return out;
}

}  // namespace headrace::format::set
