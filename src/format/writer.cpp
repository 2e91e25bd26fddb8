#include "format/writer.hpp"

namespace headrace::format {

Writer::Writer(const std::filesystem::path& path, std::span<const TensorInfo> tensors, const Layout& layout,
               bool replace)
    : tensors_(tensors), name_(path.string()), ledger_(tensors), file_(path, layout.file_bytes, replace) {
  file_.write_at(0, layout.header);
}

void Writer::write(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes) {
  ledger_.claim(tensor, first, bytes.size(), name_);
  file_.write_at(tensors_[tensor].offset + first, bytes);
}

void Writer::write_run(std::span<const std::uint32_t> tensors, std::span<const std::byte> bytes) {
  for (const std::uint32_t i : tensors) ledger_.claim(i, 0, tensors_[i].bytes, name_);
  file_.write_at(tensors_[tensors.front()].offset, bytes);
}

bool Writer::copy_from(const io::File& source, std::uint64_t source_offset, std::size_t tensor, std::uint64_t first,
                       std::uint64_t bytes) {
  if (!file_.copy_from(source, source_offset, tensors_[tensor].offset + first, bytes)) return false;
  ledger_.claim(tensor, first, bytes, name_);
  return true;
}

void Writer::commit() {
  ledger_.require_complete(name_);
  file_.commit();
}

}  // namespace headrace::format
