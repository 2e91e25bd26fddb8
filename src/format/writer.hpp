// Writer: a new checkpoint file of any format, filled in any order.
#pragma once

#include "format/layout.hpp"
#include "format/ledger.hpp"
#include "io/output_file.hpp"

#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace headrace::format {

/// The writing side below CheckpointWriter and the flow: it takes a layout, makes a file of the final size, writes the
/// header and then any bytes of any tensor from any thread.
class Writer {
 public:
  /// `tensors` carry the offsets that the layout gave them, and must outlive the writer; `layout` only the call.
  Writer(const std::filesystem::path& path, std::span<const TensorInfo> tensors, const Layout& layout, bool replace);

  /// Bytes of one tensor, from `first` on.
  void write(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes);

  /// Several whole tensors that lie one after the other in the file, with the padding between them.
  void write_run(std::span<const std::uint32_t> tensors, std::span<const std::byte> bytes);

  /// As io::OutputFile::copy_from, for bytes of one tensor.
  bool copy_from(const io::File& source, std::uint64_t source_offset, std::size_t tensor, std::uint64_t first,
                 std::uint64_t bytes);

  /// Checks that every byte came, flushes, and gives the file its name.
  void commit();

 private:
  std::span<const TensorInfo> tensors_;
  std::string name_;
  Ledger ledger_;
  io::OutputFile file_;
};

}  // namespace headrace::format
