#include "format/set/joiner.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace headrace::format::set {
namespace {

// `name` with the prefix, in `text` where it hasn't got it already.
std::string_view prefixed(std::string_view prefix, std::string_view name, std::string& text) {
  if (name.starts_with(prefix)) return name;
  text.assign(prefix);
  text += name;
  return text;
}

}  // namespace

Joiner::Joiner(std::string set, std::uint64_t memory, std::uint64_t others)
    : set_(std::move(set)), memory_(memory), others_(others), allowance_(set_, memory, others) {}

std::uint64_t Joiner::memory() const noexcept { return joined_.memory() + metadata_.memory(); }

std::uint64_t Joiner::memory_left() const noexcept {
  const std::uint64_t held = memory() + others_ + waiting_;
  return memory_ - std::min(held, memory_);
}

void Joiner::reserve(std::size_t tensors) {
  allowance_.require(memory() + TensorTable::memory_to_reserve(tensors));
  joined_.header.tensors.reserve(tensors);
}

void Joiner::begin(const Header& first) {
  joined_.header.format = first.format;
  joined_.header.version = first.version;
  joined_.header.alignment = first.alignment;
  joined_.header.data_offset = first.data_offset;
}

void Joiner::add(Contents member, std::string_view prefix) {
  if (joined_.files.empty()) begin(member.header);
  constexpr std::size_t kMaxFiles = std::numeric_limits<std::uint32_t>::max();
  const std::size_t tensors = joined_.header.tensors.tensors().size();
  if (member.header.tensors.tensors().size() > TensorTable::kMaxTensors - tensors ||
      member.files.size() > kMaxFiles - joined_.files.size()) {
    throw Error(ErrorCode::unsupported, "too many tensors",
                {.file = set_, .expected = fmt::format("at most {}", TensorTable::kMaxTensors)});
  }
  add_tensors(member, prefix);

  auto& stored = member.header.stored;
  while (!stored.empty()) {  // moved node by node, so that none is there twice
    auto node = stored.extract(stored.begin());
    node.key() += static_cast<std::uint32_t>(tensors);
    joined_.header.stored.insert(std::move(node));
  }
  joined_.files.insert(joined_.files.end(), member.files.begin(), member.files.end());
  joined_.documents.insert(joined_.documents.end(), member.documents.begin(), member.documents.end());
  member.header.tensors = {};
  metadata_.add(std::move(member.header.metadata), allowance_, joined_.memory() + waiting_);
}

void Joiner::add_tensors(const Contents& member, std::string_view prefix) {
  TensorTable& table = joined_.header.tensors;
  const auto first_file = static_cast<std::uint32_t>(joined_.files.size());
  const std::uint64_t held = memory() - table.memory() + member.memory() + waiting_;
  std::string text;
  for (TensorInfo tensor : member.header.tensors.tensors()) {
    tensor.name = prefixed(prefix, tensor.name, text);
    tensor.file += first_file;
    allowance_.require(held + text.capacity() + table.memory_while_adding(tensor.name.size(), tensor.shape.size()));
    if (!table.add(tensor)) refuse_duplicate(tensor, member);
  }
}

void Joiner::refuse_duplicate(const TensorInfo& again, const Contents& member) const {
  const TensorInfo& first = tensors().tensors()[*tensors().find(again.name)];
  const auto file_of = [&](const TensorInfo& tensor) -> const std::string& {
    return tensor.file < joined_.files.size() ? joined_.files[tensor.file]->name()
                                              : member.files[tensor.file - joined_.files.size()]->name();
  };
  const std::string &a = file_of(first), &b = file_of(again);
  throw Error(
      ErrorCode::conflict,
      a == b ? fmt::format("two tensors of '{}' get this name", a) : fmt::format("'{}' and '{}' both have it", a, b),
      {.file = set_, .tensor = printable(again.name)});
}

Contents Joiner::take(KeptPairs pairs) && {
  joined_.header.metadata = std::move(metadata_).take(pairs, allowance_, joined_.memory());
  if (joined_.files.size() != 1) joined_.header.data_offset = 0;  // there isn't one place
  return std::move(joined_);
}

}  // namespace headrace::format::set
