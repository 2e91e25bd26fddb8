// StateDict: the names of a checkpoint's tensors.
#pragma once

#include "format/torch/values.hpp"

#include <headrace/error.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::format::torch {

/// Finds the tensors in what a pickle holds, in its order. Dicts in dicts, lists and tuples are joined with '.':
/// {"blocks": [{"weight": t}]} has "blocks.0.weight". What holds no tensor is left out. A root that is a tensor itself
/// is called "tensor".
///
/// Many checkpoints keep their weights under one key beside other things. Where the root has such a key ("state_dict",
/// "model", … see kWrappers) and nothing else in it holds tensors, that entry is taken; where something else does, the
/// caller has to say which entry is meant. A path of keys joined with '.' leads into entries of entries, "." is the
/// root as it is.
class StateDict {
 public:
  static constexpr int kMostDepth = 128;

  /// `file`: for errors. Throws Error: format (an entry holds itself, or there is nothing that could hold a tensor),
  /// invalid_argument (the key leads nowhere or is needed), budget.
  StateDict(Values& values, Value root, std::string_view key, const std::string& file);
  ~StateDict() { values_.let_go(Holder::names); }
  StateDict(const StateDict&) = delete;
  StateDict& operator=(const StateDict&) = delete;

  using Found = std::function<void(std::string_view name, const RawTensor& tensor)>;

  /// Calls `found` for each tensor. The same tensor may come under several names, and a name twice.
  /// Throws Error: format (nested too deep, or the same entries over and over), unsupported (a tensor in something that
  /// gives it no name), and what `found` throws.
  void for_each(const Found& found);

  /// How many tensors for_each tells of.
  std::size_t count();

  /// Bytes held beside the values.
  std::uint64_t memory() const noexcept;

 private:
  /// A dict, list or tuple, as keys and values.
  struct Entries {
    std::span<const Value> items;
    bool is_dict;

    std::size_t size() const noexcept { return is_dict ? items.size() / 2 : items.size(); }
    Value key(std::size_t i) const noexcept {
      return is_dict ? items[2 * i] : Value(Kind::integer, static_cast<std::int64_t>(i));
    }
    Value value(std::size_t i) const noexcept { return is_dict ? items[2 * i + 1] : items[i]; }
  };

  Entries entries(Value value) const noexcept;
  void mark_holders(Value root);
  bool holds(Value value) const noexcept;
  bool append_key(Value key, std::string& name) const;
  Value choose(Value root) const;
  Value follow(Value root, std::string_view path);
  Value child(Value container, std::string_view key) const;
  std::string choices(Value container) const;
  void walk(Value value, int depth, const Found& found);
  void walk_entry(Value key, Value value, int depth, const Found& found);
  [[noreturn]] void refuse_here(ErrorCode code, std::string problem, std::string expected = {},
                                std::string found = {}) const;

  Values& values_;
  const std::string& file_;
  std::vector<std::uint8_t> holders_;  // for each container
  Value root_;
  std::string name_;  // of the entry being walked
  std::uint64_t visits_ = 0;
};

}  // namespace headrace::format::torch
