#include "format/writer.hpp"

#include <headrace/error.hpp>

#include <vector>

namespace headrace::format {
namespace {

// Files of two sets under one name would be neither.
void refuse_existing(const Outputs& outputs) {
  std::error_code ignored;
  const auto check = [&](const std::filesystem::path& path) {
    if (!std::filesystem::exists(std::filesystem::symlink_status(path, ignored))) return;
    throw Error(ErrorCode::conflict, "a file of that name is there, and a set of files never replaces another",
                {.file = path.string(), .hint = "remove it with the rest of its set, or choose another output"});
  };
  for (const Part& part : outputs.parts) check(part.path);
  if (outputs.index) check(outputs.index->path);
}

}  // namespace

std::uint64_t Outputs::file_bytes() const noexcept {
  std::uint64_t bytes = 0;
  for (const Part& part : parts) bytes += part.layout.file_bytes;
  return bytes;
}

std::uint64_t Outputs::header_bytes() const noexcept {
  std::uint64_t bytes = 0;
  for (const Part& part : parts) bytes += part.layout.header.size();
  return bytes;
}

std::size_t Outputs::memory() const noexcept {
  std::size_t bytes = index ? index->text.capacity() : 0;
  for (const Part& part : parts) bytes += sizeof(Part) + part.layout.memory();
  return bytes;
}

Writer::Writer(std::span<const TensorInfo> tensors, const Outputs& outputs, bool replace)
    : tensors_(tensors),
      name_(outputs.parts.front().path.string()),
      ledger_(tensors),
      first_part_last_(outputs.first_part_last) {
  const bool set = outputs.parts.size() > 1 || outputs.index;
  if (set) refuse_existing(outputs);
  std::uint64_t later = outputs.file_bytes() + (outputs.index ? outputs.index->text.size() : 0);
  for (const Part& part : outputs.parts) {
    later -= part.layout.file_bytes;
    files_.emplace_back(part.path, part.layout.file_bytes, replace && !set, later, part.temporary)
        .write_at(0, part.layout.header);
  }
  if (!outputs.index) return;
  const auto text = std::as_bytes(std::span(outputs.index->text));
  files_.emplace_back(outputs.index->path, text.size(), false).write_at(0, text);
}

void Writer::write(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes) {
  ledger_.claim(tensor, first, bytes.size(), name_);
  file_of(tensor).write_at(tensors_[tensor].offset + first, bytes);
}

void Writer::write_run(std::span<const std::uint32_t> tensors, std::span<const std::byte> bytes) {
  for (const std::uint32_t i : tensors) ledger_.claim(i, 0, tensors_[i].bytes, name_);
  file_of(tensors.front()).write_at(tensors_[tensors.front()].offset, bytes);
}

bool Writer::copy_from(const io::File& source, std::uint64_t source_offset, std::size_t tensor, std::uint64_t first,
                       std::uint64_t bytes) {
  if (!file_of(tensor).copy_from(source, source_offset, tensors_[tensor].offset + first, bytes)) return false;
  ledger_.claim(tensor, first, bytes, name_);
  return true;
}

void Writer::grow(std::span<const TensorInfo> tensors, std::uint64_t file_bytes) {
  files_.front().grow(file_bytes);
  tensors_ = tensors;
  ledger_.grow(tensors);
}

void Writer::commit() {
  require_complete();
  publish();
}

void Writer::publish() {
  for (io::OutputFile& file : files_) file.flush();
  std::vector<io::OutputFile*> order, published;
  for (io::OutputFile& file : files_) order.push_back(&file);
  if (first_part_last_) {
    order.erase(order.begin());
    order.push_back(&files_.front());
  }
  try {
    for (io::OutputFile* file : order) {
      file->publish();
      published.push_back(file);
    }
  } catch (...) {
    for (io::OutputFile* file : published) file->withdraw();
    throw;
  }
}

}  // namespace headrace::format
