// LentPages: parts of files, lent where they lie to whoever asks for one.
#pragma once

#include "io/file.hpp"
#include "io/mapping.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace headrace::residency {

/// Each file is mapped once, when a part of it is asked for: neither lending one nor having it back is a call of the
/// system's, which would cost as much as looking at some MiB. Each part is one holder's at a time, and what he writes
/// to it nobody else ever sees. What was given back stays mapped for whoever asks next.
///
/// Thread-safe.
class LentPages {
 public:
  /// `most_idle`: bytes, of all files, that nobody has, and that stay mapped; with what was written to them.
  explicit LentPages(std::uint64_t most_idle);

  struct Lent {
    std::shared_ptr<std::byte> memory = {};  // null where the file can't be mapped; may outlive all of this
    bool is_there = false;                   // it was let go of not long ago, and nobody needs to bring it
    const io::Mapping* mapping = nullptr;
    std::size_t first = 0, count = 0;  // of its pages

    /// Has the system bring it into memory; false when it can't.
    bool bring() const noexcept { return mapping->populate(first, count); }
  };
  /// `count` bytes of the file from `first` on, more than a page. They are a mapping of their own where somebody has a
  /// part of them or has written to their pages, and where all of a file isn't to be mapped: addresses are limited, or
  /// memory that may be written to is counted.
  Lent lend(const io::File& file, std::uint64_t first, std::size_t count);

  /// This part won't be asked for soon: where nobody has it, it isn't mapped any more.
  void forget(const io::File& file, std::uint64_t first) noexcept;

 private:
  class Loans;
  std::shared_ptr<Loans> loans_;
};

}  // namespace headrace::residency
