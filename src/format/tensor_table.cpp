#include "format/tensor_table.hpp"

#include <algorithm>

namespace headrace::format {
namespace {

// The arena's chunk, or a large allocation's own size: what one name or shape can make it grow by, at worst.
constexpr std::size_t kArenaChunk = std::size_t{64} << 10;

constexpr std::size_t arena_growth(std::size_t bytes) { return bytes == 0 ? 0 : std::max(bytes + 7, kArenaChunk); }

auto name_getter(const std::vector<TensorInfo>& tensors) {
  return [&tensors](std::size_t i) { return tensors[i].name; };
}

}  // namespace

TensorTable::TensorTable() = default;

void TensorTable::reserve(std::size_t tensors) {
  tensors_.reserve(tensors);
  index_.reserve(tensors, name_getter(tensors_));
}

bool TensorTable::add(const TensorInfo& tensor) {
  if (!index_.add(tensor.name, name_getter(tensors_))) return false;
  TensorInfo& added = tensors_.emplace_back(tensor);
  added.name = arena_.copy(tensor.name);
  added.shape = arena_.copy(tensor.shape);
  return true;
}

std::optional<std::size_t> TensorTable::find(std::string_view name) const noexcept {
  return index_.find(name, name_getter(tensors_));
}

std::size_t TensorTable::memory() const noexcept {
  return arena_.memory() + tensors_.capacity() * sizeof(TensorInfo) + index_.memory();
}

std::size_t TensorTable::memory_while_adding(std::size_t name_bytes, std::size_t rank) const noexcept {
  const std::size_t list_growth =
      tensors_.size() < tensors_.capacity() ? 0 : std::max<std::size_t>(1, 2 * tensors_.size()) * sizeof(TensorInfo);
  return arena_.memory() + arena_growth(name_bytes) + arena_growth(rank * sizeof(std::uint64_t)) +
         tensors_.capacity() * sizeof(TensorInfo) + list_growth + index_.memory_while_adding();
}

std::size_t TensorTable::memory_to_reserve(std::size_t tensors) noexcept {
  std::size_t slots = 16;
  while (slots < tensors * 2) slots *= 2;
  return tensors * sizeof(TensorInfo) + slots * sizeof(std::uint32_t);
}

}  // namespace headrace::format
