#include "format/torch/values.hpp"

#include <headrace/error.hpp>

#include <algorithm>

namespace headrace::format::torch {
namespace {

// The arena's chunk: what a small allocation can make it grow by.
constexpr std::size_t kArenaChunk = std::size_t{64} << 10;
constexpr std::size_t kMostItems = std::size_t{1} << 31;

}  // namespace

std::string_view name(Kind kind) noexcept {
  switch (kind) {
    case Kind::none: return "None";
    case Kind::boolean: return "a truth value";
    case Kind::integer: return "an integer";
    case Kind::large: return "a very large integer";
    case Kind::text: return "a string";
    case Kind::bytes: return "bytes";
    case Kind::tuple: return "a tuple";
    case Kind::list: return "a list";
    case Kind::dict: return "a dict";
    case Kind::set: return "a set";
    case Kind::global: return "a class or function";
    case Kind::storage: return "a storage";
    case Kind::tensor: return "a tensor";
    case Kind::other: return "an object";
    case Kind::vacant: break;
  }
  return "a value";
}

std::byte* Values::allocate(std::size_t bytes) {
  require(std::max(bytes + 7, kArenaChunk));
  return arena_.allocate(bytes);
}

Value Values::make_text(Kind kind, std::size_t bytes, std::span<char>& room) {
  require(texts_.growth() + std::max(bytes + 7, kArenaChunk));
  char* const at = reinterpret_cast<char*>(allocate(bytes));
  room = {at, bytes};
  return Value(kind, static_cast<std::int64_t>(texts_.add({at, bytes})));
}

Value Values::make_text(Kind kind, std::string_view text) {
  std::span<char> room;
  const Value value = make_text(kind, text.size(), room);
  std::ranges::copy(text, room.begin());
  return value;
}

Value Values::make(Kind container, std::span<const Value> items) {
  const bool is_empty_tuple = container == Kind::tuple && items.empty();
  if (is_empty_tuple && !empty_tuple_.is(Kind::vacant)) return empty_tuple_;
  require(nodes_.growth());
  const Value value(container, static_cast<std::int64_t>(nodes_.add({})));
  append(value, items);
  if (is_empty_tuple) empty_tuple_ = value;
  return value;
}

void Values::append(Value container, std::span<const Value> items) {
  if (items.empty()) return;
  Node& node = nodes_[container.index()];
  const std::size_t needed = node.size + items.size();
  if (needed > node.capacity) {
    // What grows later grows by doubling; the room it leaves stays in the arena, as much again at most.
    const std::size_t capacity = node.size == 0 ? needed : std::max(needed, 2 * std::size_t{node.capacity});
    if (capacity > kMostItems) throw Error(ErrorCode::unsupported, "a list of the pickle is too long");
    auto* const room = reinterpret_cast<Value*>(allocate(capacity * sizeof(Value)));
    std::copy_n(node.items, node.size, room);
    node.items = room;
    node.capacity = static_cast<std::uint32_t>(capacity);
  }
  std::ranges::copy(items, node.items + node.size);
  node.size = static_cast<std::uint32_t>(needed);
  all_items_ += items.size();
}

Value Values::make_storage(const StorageView& view) {
  require(views_.growth());
  return Value(Kind::storage, static_cast<std::int64_t>(views_.add(view)));
}

Value Values::make_tensor(const RawTensor& tensor) {
  require(tensors_.growth());
  return Value(Kind::tensor, static_cast<std::int64_t>(tensors_.add(tensor)));
}

const std::uint64_t* Values::copy(std::span<const std::uint64_t> numbers) {
  require(std::max(numbers.size_bytes() + 7, kArenaChunk));
  return arena_.copy(numbers).data();
}

std::optional<std::size_t> Values::find_storage(std::string_view key) const noexcept {
  return storage_index_.find(key, key_getter());
}

std::uint32_t Values::add_storage(const Storage& storage) {
  if (storages_.size() == NameIndex::kMaxEntries) throw Error(ErrorCode::unsupported, "too many storages");
  require(storages_.growth() + storage_index_.memory_while_adding());
  storage_index_.add(storage.key, key_getter());
  return static_cast<std::uint32_t>(storages_.add(storage));
}

std::size_t Values::memory() const noexcept {
  return arena_.memory() + texts_.memory() + nodes_.memory() + views_.memory() + tensors_.memory() +
         storages_.memory() + storage_index_.memory();
}

}  // namespace headrace::format::torch
