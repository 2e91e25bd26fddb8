// Reads the key-value pairs of a GGUF header.
#pragma once

#include "format/allowance.hpp"
#include "format/gguf/cursor.hpp"
#include "format/metadata_builder.hpp"

#include <headrace/metadata.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace headrace::format::gguf {

/// Keeps each value's bytes as the file has them (its numbers little-endian, whatever they are there), and checks their
/// structure on the way: types, lengths, nesting, unique keys. Memory is asked for before it is taken.
class PairsReader {
 public:
  PairsReader(Cursor& cursor, const std::string& file, const Allowance& allowance)
      : cursor_(cursor), file_(file), allowance_(allowance), pairs_(allowance) {}

  /// `count` has been checked against the bytes left in the file.
  Metadata read(std::uint64_t count);

  /// Where in the file the pair of general.alignment stands, if there is one.
  std::uint64_t alignment_at() const noexcept { return alignment_at_; }

 private:
  void read_pair();
  void read_key();
  void read_value(ValueType type, int depth);
  void read_array(int depth);
  ValueType read_type();
  void copy_to_value(std::uint64_t bytes, std::size_t width, const char* what);
  std::uint64_t scratch() const noexcept;
  std::uint64_t held() const noexcept;

  Cursor& cursor_;
  const std::string& file_;
  const Allowance& allowance_;
  MetadataBuilder pairs_;
  std::string key_;           // of the pair being read
  std::uint64_t key_at_ = 0;  // its offset in the file
  std::uint64_t alignment_at_ = 0;
  std::vector<std::byte> value_;  // of the pair being read
};

}  // namespace headrace::format::gguf
