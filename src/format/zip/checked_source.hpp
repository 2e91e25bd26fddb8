// CheckedSource: an archive's own bytes; what is read of a stored entry is held against its checksum.
#pragma once

#include "format/zip/deflate.hpp"
#include "format/zip/opened.hpp"
#include "io/byte_source.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace headrace::format::zip {

/// Entries are read in pieces, by many threads, in any order, and some bytes more than once. Of each entry that isn't
/// complete yet the runs that were read are kept with their checksums; neighbours are joined, so there are few. Where
/// an entry is read in too many separate runs nothing of it is kept: finish() reads it again.
/// Thread-safe. file() stays null, so that all bytes come by here.
class CheckedSource final : public io::ByteSource {
 public:
  explicit CheckedSource(std::shared_ptr<Opened> archive);

  const std::string& name() const noexcept override { return source_.name(); }
  std::uint64_t size() const noexcept override { return source_.size(); }
  /// Throws Error(format) as well when that completes an entry whose checksum is wrong.
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  bool comes_from(const io::FileId& file) const noexcept override { return source_.comes_from(file); }
  unsigned parallel_reads() const noexcept override { return source_.parallel_reads(); }
  void finish() const override;
  void interrupt() const noexcept override { archive_->interrupt(); }
  /// The archive's directory included.
  std::size_t memory() const noexcept override;

  /// As read_at, but an entry that is only looked at so isn't read to its end by finish().
  void look_at(std::uint64_t offset, std::span<std::byte> out) const;

  /// Bytes that this will hold at most, for an archive with so many entries.
  static std::size_t memory_for(std::size_t entries) noexcept;

 private:
  enum class State : std::uint8_t {
    untouched,
    begun,      // finish() has to see to it
    scattered,  // begun, and of its runs nothing is kept
    good,       // complete, and its checksum is right
  };

  struct Run {
    std::uint64_t begin, end;  // bytes of the archive
    std::uint32_t crc;
    bool ready;  // else some thread is at work on it
  };
  using Runs = std::vector<Run>;  // by where they begin; they don't touch, unless one isn't ready

  void note(std::uint64_t offset, std::span<const std::byte> bytes, bool begins) const;
  void note_entry(std::uint32_t number, std::uint64_t offset, std::span<const std::byte> bytes, bool begins) const;
  bool has_room_for(std::uint32_t number) const;
  void scatter(std::uint32_t number) const;
  void settle(std::uint32_t number, std::uint64_t begin, std::uint32_t crc) const;
  State state_of(std::uint32_t number) const;
  bool next_gap(std::uint32_t number, std::uint64_t& begin, std::uint64_t& end) const;
  void complete(std::uint32_t number) const;
  void read_whole(std::uint32_t number) const;

  const std::shared_ptr<Opened> archive_;
  const io::ByteSource& source_;
  mutable std::mutex mutex_;
  mutable std::vector<State> states_;                     // of the entries, by number
  mutable std::unordered_map<std::uint32_t, Runs> runs_;  // of entries that aren't complete
  mutable std::size_t run_count_ = 0;                     // in all of them
  mutable ChecksumJoiner joiner_;
};

}  // namespace headrace::format::zip
