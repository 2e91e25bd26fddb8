// HostFiles: how the files of this machine that a plan reads come into memory.
#pragma once

#include "base/gate.hpp"
#include "io/direct_readers.hpp"
#include "io/mapping.hpp"
#include "io/populator.hpp"
#include "plan/plan.hpp"

#include <headrace/load.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>

namespace headrace::flow {

/// Thread-safety: const members from any threads.
class HostFiles {
 public:
  /// `to_host`: the tensors go to the host's memory, so that a mapping can be what holds them. `threads`: how many read
  /// at once. What direct reads need is charged to the gate; where it has too little, there are none.
  HostFiles(const Plan::Impl& plan, HostReads how, bool to_host, unsigned threads, base::Gate& gate);

  /// Null where the file isn't mapped.
  std::shared_ptr<const io::Mapping> mapping(const io::File& file) const noexcept;
  /// Of a mapped file that populates, bytes [first, first + count) are wanted in memory; names the place where that
  /// can't be.
  void populate(const io::File& file, std::uint64_t first, std::uint64_t count) const;

  /// True where some mapping's pages are brought into memory on the way, or those of this file's: what the system has
  /// cached comes when it is looked at.
  bool populates() const noexcept;
  bool populates(const io::File& file) const noexcept;

  /// True where reads go past the system's cache: without a copy into memory that lies as the bytes lie in their page.
  bool is_direct(const io::File& file) const noexcept;

  /// Fills `out` from `at` on: past the system's cache, or through it. Throws Error(io).
  void read(const io::File& file, std::uint64_t at, std::span<std::byte> out) const;

  /// Nobody reads any more: what direct reads hold goes, and mappings that no tensor is made of.
  void let_go() noexcept;

 private:
  struct Reading {
    std::shared_ptr<const io::Mapping> mapping = {};
    bool populate = false;
    bool direct = false;
  };

  static Reading choose(const Plan::Impl& plan, const io::File& file, HostReads how, bool to_host);

  std::optional<io::DirectReaders> direct_;  // none where no file is read so
  std::unordered_map<const io::File*, Reading> readings_;
  const io::Populator populator_;
};

}  // namespace headrace::flow
