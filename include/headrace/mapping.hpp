// Mapping: a checkpoint's file as memory of this process.
//
// The fastest way to hold all of a file's weights in memory: the system's cache of the file is the memory, and nothing
// is copied. It isn't how Headrace converts: what is touched counts as this process's memory.
#pragma once

#include <headrace/cancel.hpp>
#include <headrace/checkpoint.hpp>

#include <cstddef>
#include <memory>
#include <span>

namespace headrace {

/// Memory that begins as the bytes of a file, and may be written to: what is written is this process's alone, page by
/// page, and never reaches the file. It stays valid when the Checkpoint is gone and when the file is renamed or
/// deleted. Who changes the file's bytes meanwhile changes what wasn't written to yet. Who makes the file shorter takes
/// memory away: touching it then ends the process with SIGBUS. Read tensors (Checkpoint::read, read_slice) where that
/// can happen.
/// Thread-safety: const members from any threads; the memory is like any other.
class FileMapping {
 public:
  /// Maps file `i` (below `checkpoint.files()`). Null when its bytes aren't those of a file of this machine: a URL, a
  /// pipe, something packed. Throws Error(io) when the system refuses.
  static std::shared_ptr<const FileMapping> map(const Checkpoint& checkpoint, std::size_t i);

  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  /// The whole file; empty when that is.
  std::span<std::byte> bytes() const noexcept;

  /// Brings a file that the system hasn't cached into memory, ahead of its use: `threads` (0: one per core) take turns
  /// to read long runs of it, in order, and look at the pages of theirs while the next is read. The caller need not
  /// wait for pages then, and learns of what can't be read by an exception. Sets the process's handler of SIGBUS, which
  /// leaves all other faults to the one that was there. Where the system doesn't know how (Linux before 5.14), it is
  /// asked to read ahead. Throws Error: io (naming the place in the file: it ends too soon, or can't be read),
  /// cancelled.
  void populate(unsigned threads = 0, const CancelToken& cancel = {}) const;

  struct Impl;
  explicit FileMapping(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

/// Where a mapping of its file holds the tensor: `offset` and `bytes` of TensorInfo say where its numbers lie, as they
/// are. False when they don't: another encoding than plain, or numbers that don't begin where the processor wants them,
/// at a multiple of their size.
bool lies_plain(const TensorInfo& tensor) noexcept;

}  // namespace headrace
