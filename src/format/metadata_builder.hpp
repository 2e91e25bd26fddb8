// MetadataBuilder: fills a Metadata from a file, pair by pair, within an allowance.
#pragma once

#include "format/allowance.hpp"
#include "format/name_index.hpp"

#include <headrace/metadata.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace headrace::format {

/// Finds repeated keys by hash, and grows the Metadata in steps that the allowance was asked for.
class MetadataBuilder {
 public:
  explicit MetadataBuilder(const Allowance& allowance) : allowance_(allowance) {}

  /// False, and nothing is added, when the key is there already. `held`: bytes that others hold meanwhile.
  bool add(std::string_view key, ValueType type, std::span<const std::byte> bytes, std::uint64_t held);

  /// Bytes of memory held.
  std::uint64_t memory() const noexcept { return metadata_.memory() + keys_.memory(); }

  Metadata take() && noexcept { return std::move(metadata_); }

 private:
  const Allowance& allowance_;
  Metadata metadata_;
  NameIndex keys_;
  std::uint64_t used_ = 0, reserved_ = 0, pairs_reserved_ = 0;  // bytes of keys and values; pairs
};

}  // namespace headrace::format
