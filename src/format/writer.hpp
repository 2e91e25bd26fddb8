// Writer: a new checkpoint of any format, in one file or many, filled in any order.
#pragma once

#include "format/layout.hpp"
#include "format/ledger.hpp"
#include "io/output_file.hpp"

#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace headrace::format {

/// One file of an output.
struct Part {
  std::filesystem::path path;
  Layout layout;
  std::string temporary = {};  // its name until it is complete; empty: it has none
};

/// A small text beside the parts that says which tensor is where.
struct Index {
  std::filesystem::path path;
  std::string text;
};

/// What a Writer shall make.
struct Outputs {
  std::vector<Part> parts;       // by TensorInfo::file
  std::optional<Index> index;    // appears after all parts
  bool first_part_last = false;  // the first part is what leads to the others

  std::uint64_t file_bytes() const noexcept;    // of all parts
  std::uint64_t header_bytes() const noexcept;  // of all parts
  std::size_t memory() const noexcept;
};

/// The writing side below CheckpointWriter and the flow: it makes files of their final size, writes the headers and
/// then any bytes of any tensor from any thread.
class Writer {
 public:
  /// `tensors` carry the files and offsets that the layouts gave them; they and `outputs` must outlive the writer.
  /// `replace`: an existing file may be replaced. A set of several is never written over another.
  Writer(std::span<const TensorInfo> tensors, const Outputs& outputs, bool replace);

  /// Bytes of one tensor, from `first` on.
  void write(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes);

  /// Several whole tensors that lie one after the other in a file, with the padding between them.
  void write_run(std::span<const std::uint32_t> tensors, std::span<const std::byte> bytes);

  /// As io::OutputFile::copy_from, for bytes of one tensor.
  bool copy_from(const io::File& source, std::uint64_t source_offset, std::size_t tensor, std::uint64_t first,
                 std::uint64_t bytes);

  /// Of an output in one file, whose tensors have become more: `tensors` begin with those of before. The header is
  /// written by rewrite_header(). Not at the same time as any other call.
  void grow(std::span<const TensorInfo> tensors, std::uint64_t file_bytes);
  /// Of an output in one file: a header of the same length takes the place of the first.
  void rewrite_header(std::span<const std::byte> header) { files_.front().write_at(0, header); }

  /// Throws Error(invalid_argument) naming the tensors whose bytes did not all come.
  void require_complete() const { ledger_.require_complete(name_); }
  /// Flushes all files, and then gives them their names: what leads to the others last. If one can't have its name,
  /// those that got theirs lose it again.
  void publish();
  /// require_complete() and publish().
  void commit();
  /// Of an output in one file, that has a temporary name: it stays there, whatever becomes of it.
  void leave() { files_.front().leave(); }

 private:
  io::OutputFile& file_of(std::size_t tensor) { return files_[tensors_[tensor].file]; }

  std::span<const TensorInfo> tensors_;
  std::string name_;
  Ledger ledger_;
  const bool first_part_last_;
  std::deque<io::OutputFile> files_;  // the parts, then the index
};

}  // namespace headrace::format
