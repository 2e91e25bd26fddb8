#include "format/checkpoint.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/error.hpp>

#include <algorithm>
#include <cctype>

namespace headrace {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

}  // namespace

std::string_view name(Format format) noexcept { return format == Format::gguf ? "gguf" : "safetensors"; }

std::optional<Format> parse_format(std::string_view text) noexcept {
  if (lower(text) == name(Format::gguf)) return Format::gguf;
  if (lower(text) == name(Format::safetensors)) return Format::safetensors;
  return std::nullopt;
}

std::optional<Format> format_of_suffix(const std::filesystem::path& path) {
  const std::string suffix = path.extension().string();
  return suffix.empty() ? std::nullopt : parse_format(std::string_view(suffix).substr(1));
}

Checkpoint Checkpoint::open(const std::filesystem::path& path, const OpenOptions& options) {
  return Checkpoint(format::open_checkpoint(path, options.memory));
}

const std::filesystem::path& Checkpoint::path() const noexcept { return impl_->path; }
Format Checkpoint::format() const noexcept { return impl_->header.format; }
std::uint32_t Checkpoint::format_version() const noexcept { return impl_->header.version; }
std::uint64_t Checkpoint::file_bytes() const noexcept { return impl_->file.size(); }
std::uint64_t Checkpoint::data_offset() const noexcept { return impl_->header.data_offset; }
Access Checkpoint::access() const noexcept { return impl_->file.access(); }
std::uint64_t Checkpoint::memory() const noexcept { return impl_->memory(); }
std::span<const TensorInfo> Checkpoint::tensors() const noexcept { return impl_->header.tensors.tensors(); }
const Metadata& Checkpoint::metadata() const noexcept { return impl_->header.metadata; }

const TensorInfo* Checkpoint::find(std::string_view name) const noexcept {
  const auto at = impl_->header.tensors.find(name);
  return at ? &impl_->header.tensors.tensors()[*at] : nullptr;
}

void Checkpoint::read(const TensorInfo& tensor, std::uint64_t first_byte, std::span<std::byte> out) const {
  if (first_byte > tensor.bytes || out.size() > tensor.bytes - first_byte) {
    throw Error(ErrorCode::invalid_argument, "a read runs past the tensor's end",
                {.file = impl_->file.name(),
                 .tensor = std::string(tensor.name),
                 .expected = std::to_string(tensor.bytes) + " bytes",
                 .found = std::to_string(first_byte) + " + " + std::to_string(out.size())});
  }
  impl_->file.read_at(tensor.offset + first_byte, out);
}

}  // namespace headrace
