// Checkpoint::Impl: open files and their header, as the rooms above use them.
#pragma once

#include "format/contents.hpp"

#include <headrace/checkpoint.hpp>

#include <memory>
#include <span>
#include <string>

namespace headrace {

struct Checkpoint::Impl {
  std::string location;  ///< as errors call it
  format::Header header;
  std::vector<format::SourcePtr> files;
  std::vector<io::FileId> documents;  ///< see Contents

  std::span<const TensorInfo> tensors() const noexcept { return header.tensors.tensors(); }
  const io::ByteSource& file_of(const TensorInfo& tensor) const noexcept { return *files[tensor.file]; }
  /// True when some of its bytes come only once, in order.
  bool forward_only() const noexcept;
  /// The bytes of all files; io::kUnknownSize where one isn't known.
  std::uint64_t file_bytes() const noexcept;
  std::size_t memory() const noexcept;
  /// True for every file of this machine that was opened for this checkpoint.
  bool comes_from(const io::FileId& file) const noexcept;

  /// Called once after the last read: checks what the files promise about their bytes and their end.
  /// Throws Error: format, io.
  void finish() const;
};

namespace format {

/// Opens the location, recognises its format and reads its header. See Checkpoint::open.
std::shared_ptr<const Checkpoint::Impl> open_checkpoint(const std::string& location, const OpenOptions& options);

}  // namespace format
}  // namespace headrace
