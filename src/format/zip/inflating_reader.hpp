// InflatingReader: a deflated entry, from its first byte to its last.
#pragma once

#include "format/zip/deflate.hpp"
#include "format/zip/opened.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace headrace::format::zip {

/// Holds about 110 KiB, or less for small entries. Not thread-safe. The archive must outlive it.
class InflatingReader {
 public:
  /// `window`: of the entry's stored bytes, that are read together.
  InflatingReader(const Opened& archive, const Entry& entry, std::size_t window = std::size_t{64} << 10);

  /// Fills `out` with the next bytes, less only at the end; 0 when all have come. Whoever has got the last byte knows
  /// that size and checksum are right. Never produces more than the size that the directory states.
  /// Throws Error: format, io, cancelled.
  std::size_t next(std::span<std::byte> out);

 private:
  Inflater::Step step(std::span<std::byte> out);
  void check_end();
  [[noreturn]] void refuse(const char* problem, std::string expected = {}, std::string found = {}) const;

  const Opened& archive_;
  const Entry& entry_;
  Inflater inflater_;
  std::vector<std::byte> buffer_;
  std::span<const std::byte> in_;  // of the buffer: what hasn't been used yet
  std::uint64_t read_ = 0;         // of the entry's stored bytes
  std::uint64_t produced_ = 0;
  std::uint32_t crc_ = 0;
  bool ended_ = false;
};

}  // namespace headrace::format::zip
