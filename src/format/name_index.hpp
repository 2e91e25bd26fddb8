// NameIndex: finds the number of a name in a list that someone else keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

namespace headrace::format {

/// XXH3 with a seed drawn once per process, so that a file can't be made whose names all collide.
std::uint64_t hash_of_name(std::string_view name) noexcept;

/// A hash table of list numbers: 4 bytes a slot, at most half of the slots taken. The list itself stays with the
/// caller, who tells how to get the name of a number: `name_of(i)`. Not thread-safe while it is being filled.
class NameIndex {
 public:
  static constexpr std::size_t kMaxEntries = std::numeric_limits<std::uint32_t>::max() / 2;

  template <class NameOf>
  std::optional<std::size_t> find(std::string_view name, const NameOf& name_of) const {
    if (slots_.empty()) return std::nullopt;
    const std::uint32_t entry = slots_[slot_of(name, name_of)];
    return entry == 0 ? std::nullopt : std::optional<std::size_t>(entry - 1);
  }

  /// Enters `name` as number `entries()`. False, and nothing is entered, when the name is there already.
  template <class NameOf>
  bool add(std::string_view name, const NameOf& name_of) {
    if (entries_ * 2 >= slots_.size()) rehash(slots_after(entries_ + 1), name_of);
    std::uint32_t& slot = slots_[slot_of(name, name_of)];
    if (slot != 0) return false;
    slot = static_cast<std::uint32_t>(++entries_);
    return true;
  }

  template <class NameOf>
  void reserve(std::size_t entries, const NameOf& name_of) {
    if (const std::size_t slots = slots_after(entries); slots > slots_.size()) rehash(slots, name_of);
  }

  std::size_t entries() const noexcept { return entries_; }
  std::size_t memory() const noexcept { return slots_.capacity() * sizeof(std::uint32_t); }
  /// Bytes held at worst while the next `add` runs: the old slots and the new ones.
  std::size_t memory_while_adding() const noexcept {
    return memory() + (entries_ * 2 >= slots_.size() ? slots_after(entries_ + 1) * sizeof(std::uint32_t) : 0);
  }

 private:
  // A power of two with at least half of the slots free.
  static std::size_t slots_after(std::size_t entries) noexcept {
    std::size_t slots = 16;
    while (slots < entries * 2) slots *= 2;
    return slots;
  }

  template <class NameOf>
  std::size_t slot_of(std::string_view name, const NameOf& name_of) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(hash_of_name(name)) & mask;
    while (slots_[at] != 0 && name_of(slots_[at] - 1) != name) at = (at + 1) & mask;
    return at;
  }

  template <class NameOf>
  void rehash(std::size_t slots, const NameOf& name_of) {
    slots_ = std::vector<std::uint32_t>(slots);
    const std::size_t mask = slots - 1;
    for (std::size_t i = 0; i < entries_; ++i) {  // all names differ, so there is nothing to compare
      std::size_t at = static_cast<std::size_t>(hash_of_name(name_of(i))) & mask;
      while (slots_[at] != 0) at = (at + 1) & mask;
      slots_[at] = static_cast<std::uint32_t>(i + 1);
    }
  }

  std::vector<std::uint32_t> slots_;  // open addressing; number + 1, 0 is free
  std::size_t entries_ = 0;
};

}  // namespace headrace::format
