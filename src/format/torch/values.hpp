// Values: what a pickle says, as a graph of shared nodes.
#pragma once

#include "base/arena.hpp"
#include "format/allowance.hpp"
#include "format/name_index.hpp"
#include "format/torch/globals.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace headrace::format::torch {

enum class Kind : std::uint8_t {
  none,
  boolean,
  integer,  ///< of up to 56 bits
  large,    ///< an integer of more: its bytes, two's complement, little-endian
  text,
  bytes,  ///< without them: nothing here needs them
  tuple,
  list,
  dict,  ///< its items are key, value, key, value, …
  set,
  global,
  storage,
  tensor,
  other,   ///< a float, or an object that is of no use here
  vacant,  ///< no value: a free place in a memo
};

/// For messages: "a list". Static storage.
std::string_view name(Kind kind) noexcept;

/// Eight bytes: a kind, and a number or the place of the rest in Values. So a value that is used a thousand times is
/// there once, and a pickle's memory grows with its length, whatever it doubles.
class Value {
 public:
  static constexpr std::int64_t kMostInteger = (std::int64_t{1} << 55) - 1;

  Value() noexcept : Value(Kind::none) {}
  explicit Value(Kind kind, std::int64_t number = 0) noexcept
      : bits_(static_cast<std::uint64_t>(number) << 8 | static_cast<std::uint64_t>(kind)) {}

  Kind kind() const noexcept { return static_cast<Kind>(bits_ & 0xFF); }
  bool is(Kind kind) const noexcept { return this->kind() == kind; }
  /// Tuple, list, dict or set.
  bool is_container() const noexcept { return kind() >= Kind::tuple && kind() <= Kind::set; }
  std::int64_t number() const noexcept { return static_cast<std::int64_t>(bits_) >> 8; }
  std::size_t index() const noexcept { return static_cast<std::size_t>(bits_ >> 8); }

 private:
  std::uint64_t bits_;
};

/// Elements at stable addresses that grow by chunks, so that growing copies nothing.
template <class T, std::size_t kChunk = 512>
class Pool {
 public:
  std::size_t add(const T& element) {
    if (size_ % kChunk == 0) chunks_.push_back(std::make_unique<T[]>(kChunk));
    (*this)[size_] = element;
    return size_++;
  }
  T& operator[](std::size_t i) noexcept { return chunks_[i / kChunk][i % kChunk]; }
  const T& operator[](std::size_t i) const noexcept { return chunks_[i / kChunk][i % kChunk]; }

  std::size_t size() const noexcept { return size_; }
  std::size_t memory() const noexcept {
    return chunks_.size() * kChunk * sizeof(T) + chunks_.capacity() * sizeof(chunks_[0]);
  }
  /// Bytes that the next add() takes.
  std::size_t growth() const noexcept {
    if (size_ % kChunk != 0) return 0;
    const bool full = chunks_.size() == chunks_.capacity();
    return kChunk * sizeof(T) + (full ? (2 * chunks_.size() + 1) * sizeof(chunks_[0]) : 0);
  }

 private:
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::size_t size_ = 0;
};

/// The bytes of one storage, as the persistent ids describe it.
struct Storage {
  static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};

  std::string_view key;
  std::uint64_t bytes = 0;
  std::uint64_t at = 0;              // where in the pickle it is named first
  const Element* element = nullptr;  // by which it is counted there
  std::uint64_t offset = kNowhere;   // in the file, once that is known
};

/// A storage, or the part of one that the old format calls a view.
struct StorageView {
  std::uint32_t storage = 0;
  std::uint64_t first_byte = 0, bytes = 0;
  const Element* element = nullptr;
};

/// A tensor as the pickle describes it. Its numbers aren't checked against the storage yet.
struct RawTensor {
  const StorageView* view = nullptr;
  const Element* element = nullptr;
  std::uint64_t offset = 0;                   // of the first element in the view, in elements
  std::uint64_t at = 0;                       // where in the pickle it is made
  const std::uint64_t* dimensions = nullptr;  // the shape, then the strides
  std::uint32_t rank = 0;
  bool conjugated = false, negated = false;  // in torch's mind: the storage holds the numbers before that

  std::span<const std::uint64_t> shape() const noexcept { return {dimensions, rank}; }
  std::span<const std::uint64_t> strides() const noexcept { return {dimensions + rank, rank}; }
};

/// Who holds memory beside the values: who makes them, who finds names for them, and what is made of them.
enum class Holder : std::uint8_t { unpickler, names, tensors, files };

/// Owns what values refer to. Memory is asked for before it is taken. Not thread-safe.
class Values {
 public:
  explicit Values(const Allowance& allowance) : allowance_(allowance) {}

  Value make_text(Kind kind, std::string_view text);
  /// Room for a text or a large integer of so many bytes, to be filled at once.
  Value make_text(Kind kind, std::size_t bytes, std::span<char>& room);
  Value make(Kind container, std::span<const Value> items);
  /// `items` must not be the container's own, which must not be a tuple.
  void append(Value container, std::span<const Value> items);
  Value make_storage(const StorageView& view);
  Value make_tensor(const RawTensor& tensor);
  /// For as long as this lives.
  const std::uint64_t* copy(std::span<const std::uint64_t> numbers);

  std::string_view text(Value value) const noexcept { return texts_[value.index()]; }
  std::span<const Value> items(Value container) const noexcept {
    const Node& node = nodes_[container.index()];
    return {node.items, node.size};
  }
  const Global& global(Value value) const noexcept { return globals()[value.index()]; }
  const StorageView& view(Value value) const noexcept { return views_[value.index()]; }
  const RawTensor& tensor(Value value) const noexcept { return tensors_[value.index()]; }

  /// The number of the storage with that key.
  std::optional<std::size_t> find_storage(std::string_view key) const noexcept;
  /// There must be none with its key yet.
  std::uint32_t add_storage(const Storage& storage);
  const Pool<Storage>& storages() const noexcept { return storages_; }
  Pool<Storage>& storages() noexcept { return storages_; }

  std::size_t containers() const noexcept { return nodes_.size(); }
  std::uint64_t all_items() const noexcept { return all_items_; }

  /// Throws Error(budget) when `more` bytes on top of what is held here and beside are more than allowed.
  void require(std::uint64_t more) const { allowance_.require(memory() + beside() + more); }
  /// So many bytes are now held beside the values by one of those who fill and use them. Throws Error(budget) when that
  /// is more than allowed.
  void hold(Holder who, std::uint64_t bytes) {
    std::uint64_t& held = beside_[static_cast<std::size_t>(who)];
    allowance_.require(memory() + beside() - held + bytes);
    held = bytes;
  }
  void let_go(Holder who) noexcept { beside_[static_cast<std::size_t>(who)] = 0; }
  std::size_t memory() const noexcept;

 private:
  struct Node {
    Value* items = nullptr;
    std::uint32_t size = 0, capacity = 0;
  };

  std::uint64_t beside() const noexcept { return std::accumulate(beside_.begin(), beside_.end(), std::uint64_t{0}); }
  auto key_getter() const {
    return [this](std::size_t i) { return storages_[i].key; };
  }
  std::byte* allocate(std::size_t bytes);

  const Allowance& allowance_;
  base::Arena arena_;
  Pool<std::string_view> texts_;
  Pool<Node> nodes_;
  Pool<StorageView> views_;
  Pool<RawTensor> tensors_;
  Pool<Storage> storages_;
  NameIndex storage_index_;
  Value empty_tuple_ = Value(Kind::vacant);  // one is enough
  std::uint64_t all_items_ = 0;
  std::array<std::uint64_t, 4> beside_{};  // for each Holder
};

}  // namespace headrace::format::torch
