// ByteStream and Fetch: a program's own way to get at bytes, in place of files, web servers and the standard input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace headrace {

/// One file's bytes as a program brings them: from its first byte to its last, or from anywhere where ranges() is true.
/// What a member throws reaches whoever opened or converted the checkpoint, unchanged.
/// Thread-safety: size() and ranges() are called once each, before all else. read() is called by one thread at a time,
/// though not always by the same one; read_at() by any number at once.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  /// Bytes in all; nothing where it isn't known before the end. A stream that brings fewer or more ends in Error(io).
  virtual std::optional<std::uint64_t> size() const { return std::nullopt; }

  /// Puts the next bytes at the beginning of `out`, as many as are there, and returns how many: 0 only at the end.
  /// It may wait; cancelling can't wake it, but no other read begins then. `out` is the library's, and never empty.
  virtual std::size_t read(std::span<std::byte> out) = 0;

  /// True when read_at() works and size() is known: then several threads read at once and in any order, and read() is
  /// never called.
  virtual bool ranges() const { return false; }

  /// Puts bytes from `offset` on at the beginning of `out`, at least one, and returns how many; 0 where there are none.
  virtual std::size_t read_at(std::uint64_t offset, std::span<std::byte> out);
};

/// Opens a file by its location, as people write it: "model.json", "https://…", "hf://owner/repo/file", any
/// "scheme://…", or "-". Those that another file names (shards, weights) come resolved against that one's location.
/// Never returns null; what it throws reaches the caller unchanged. The library keeps the stream for as long as it
/// needs it.
/// Thread-safety: called from any thread, sometimes while a stream that it returned is being read.
using Fetch = std::function<std::shared_ptr<ByteStream>(const std::string& location)>;

/// The location of a file of weights (a path, a URL, hf://…) by its path in a TensorFlow.js manifest.
using WeightUrlConverter = std::function<std::string(const std::string& weight_file_name)>;

}  // namespace headrace
