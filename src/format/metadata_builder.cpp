#include "format/metadata_builder.hpp"

#include <algorithm>

namespace headrace::format {
namespace {

// Metadata's own record of a pair, rounded up.
constexpr std::uint64_t kEntryBytes = 40;

}  // namespace

bool MetadataBuilder::add(std::string_view key, ValueType type, std::span<const std::byte> bytes, std::uint64_t held) {
  const auto key_of = [this](std::size_t i) { return metadata_.key(i); };
  if (keys_.find(key, key_of)) return false;

  const std::uint64_t needed = used_ + key.size() + bytes.size();
  std::uint64_t reserve = reserved_;
  std::uint64_t pairs = pairs_reserved_;
  std::uint64_t growth = keys_.memory_while_adding() - keys_.memory();
  if (metadata_.size() == pairs) {
    pairs = std::max<std::uint64_t>(16, 2 * pairs);
    growth += pairs * kEntryBytes;
  }
  allowance_.require(held + memory() + growth);
  if (needed > reserve) reserve = allowance_.grown(held + memory() + growth, reserve, needed);

  metadata_.reserve(static_cast<std::size_t>(pairs), static_cast<std::size_t>(reserve));
  reserved_ = reserve;
  pairs_reserved_ = pairs;
  used_ = needed;
  keys_.add(key, key_of);
  metadata_.append(key, type, bytes);
  return true;
}

}  // namespace headrace::format
