// LentPages: parts of files, lent where they lie to whoever asks for one.
#pragma once

#include "io/file.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace headrace::residency {

/// Each file is mapped once, when a part of it is asked for: neither lending one nor having it back is a call of the
/// system's, which would cost as much as looking at some MiB. Each part is one holder's at a time, and what he writes
/// to it nobody else ever sees. What was given back stays mapped for whoever asks next.
///
/// Thread-safe.
class LentPages {
 public:
  /// `most_idle`: bytes of each file that nobody has, and that stay mapped.
  explicit LentPages(std::uint64_t most_idle) : most_idle_(most_idle) {}

  /// `count` bytes of the file from `first` on, in memory; more than a page. They may outlive this and the file. Null
  /// where somebody has a part of them, or has written to their pages, and where they can't be had so: reading says
  /// why.
  std::shared_ptr<std::byte> lend(const io::File& file, std::uint64_t first, std::size_t count);

 private:
  class OfFile;
  std::shared_ptr<OfFile> of(const io::File& file);

  const std::uint64_t most_idle_;
  std::mutex mutex_;
  std::unordered_map<const io::File*, std::shared_ptr<OfFile>> files_;
};

}  // namespace headrace::residency
