// Archive: the entries of a zip file, checked before any of them is used.
#pragma once

#include "io/byte_source.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace headrace::format::zip {

/// A file in an archive.
struct Entry {
  std::string_view name;          // as the central directory has it; lives as long as the Archive
  std::uint64_t data_offset = 0;  // of its (compressed) bytes in the archive
  std::uint64_t stored_bytes = 0;
  std::uint64_t bytes = 0;  // once inflated
  std::uint32_t crc = 0;
  bool deflated = false;
};

/// Walks the central directory (ZIP64 too) and refuses entries that are there twice, overlap each other or the
/// directory, lie outside the file, differ from their local header, are encrypted or packed by another method than
/// deflate. Source: APPNOTE.TXT 6.3.10.
/// PyTorch can be told to write no checksums (torch.serialization.set_crc32_options): then all of them are 0, and only
/// then; such an archive is read without any being checked.
/// Thread-safe. The sources that it hands out may outlive it, the entries may not.
class Archive {
 public:
  /// Never holds more than `memory` bytes. Throws Error: format, unsupported, budget, io.
  Archive(std::shared_ptr<const io::ByteSource> source, std::uint64_t memory);
  ~Archive();

  std::span<const Entry> entries() const noexcept;  ///< in the order of the directory, folders left out
  const Entry* find(std::string_view name) const noexcept;

  /// The archive's own bytes, for stored entries, whose bytes lie there at `data_offset`. What is read of it is held
  /// against the entries' checksums, as soon as an entry is complete: its finish() reads what is left of each entry
  /// that was begun. Both throw Error(format) naming the entry whose checksum is wrong.
  std::shared_ptr<const io::ByteSource> bytes() const noexcept;

  /// A deflated entry's bytes, from 0 on: inflated when first read, into a file without a name in TMPDIR (else
  /// /var/tmp), its checksum checked. Inflating stops at the size that the directory states.
  std::shared_ptr<const io::ByteSource> inflated(const Entry& entry) const;

  /// A small entry read whole and checked, of at most `most` bytes. Throws Error(format) if it is larger.
  std::vector<std::byte> read(const Entry& entry, std::uint64_t most) const;

  /// Fills `out` with an entry's first bytes, of which there must be as many; no more than they are inflated. What is
  /// looked at only so isn't held against the entry's checksum.
  void read_start(const Entry& entry, std::span<std::byte> out) const;

  /// Bytes held for the directory. The sources count it too: bytes() does, those of single entries don't.
  std::size_t memory() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headrace::format::zip
