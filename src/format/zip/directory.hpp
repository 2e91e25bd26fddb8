// The central directory of a zip file: the list of its entries.
#pragma once

#include "base/arena.hpp"
#include "format/allowance.hpp"
#include "format/name_index.hpp"
#include "format/zip/archive.hpp"
#include "format/zip/end_record.hpp"
#include "io/byte_source.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::format::zip {

struct Directory {
  base::Arena names;
  std::vector<Entry> entries;
  NameIndex index;
  std::vector<std::uint32_t> by_offset;  // the entries' numbers in the order of their data
  bool has_checksums = true;

  auto name_of() const {
    return [this](std::size_t i) { return entries[i].name; };
  }
  std::size_t memory() const noexcept {
    return names.memory() + entries.capacity() * sizeof(Entry) + index.memory() +
           by_offset.capacity() * sizeof(std::uint32_t);
  }
};

/// What the directory says of an entry that its local header has to agree with.
struct Placement {
  std::uint64_t header;  // where the local header is
  std::uint32_t entry;
  std::uint16_t flags;
};

/// An entry as errors call it.
std::string entry_title(std::string_view name);

/// Reads the directory that `end` points at. `placements` gets one for each entry; data_offset is left open.
/// Throws Error: format, unsupported, budget, io.
Directory read_directory(const io::ByteSource& source, const EndRecord& end, const Allowance& allowance,
                         std::vector<Placement>& placements);

}  // namespace headrace::format::zip
