// Where the strings of a TensorFlow.js tensor end.
#pragma once

#include "io/byte_source.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace headrace::format::tfjs {

/// Strings one after the other: of each a u32 with its length, then that many bytes.
struct StringRun {
  static constexpr std::size_t kWindow = std::size_t{64} << 10;  // held while walking

  std::uint64_t end = 0;                 // offset of the first byte after them
  std::optional<std::string> trouble{};  // what is wrong with the string that begins at `end`
};

/// Walks `count` strings from `begin` on. Time and memory don't depend on what the lengths claim: it never looks past
/// the source's end, whose size must be known.
StringRun walk_strings(const io::ByteSource& source, std::uint64_t begin, std::uint64_t count);

}  // namespace headrace::format::tfjs
