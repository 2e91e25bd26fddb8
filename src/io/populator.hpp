// Populator: brings runs of a mapped file's pages into memory.
#pragma once

#include "io/file.hpp"
#include "io/mapping.hpp"

#include <cstdint>
#include <mutex>

namespace headrace::io {

/// Of one file, or of several that one disk has. Thread-safe.
class Populator {
 public:
  /// Bytes [first, first + count) of the file are in this process's memory when it returns; `mapping` is of all of it.
  /// Throws Error(io), naming the place, when they can't be.
  void bring(const File& file, const Mapping& mapping, std::uint64_t first, std::uint64_t count) const;

 private:
  bool read(const Mapping& mapping, std::uint64_t first, std::uint64_t count) const noexcept;

  mutable std::mutex reading_;
};

}  // namespace headrace::io
