#include "format/checkpoint.hpp"
#include "flow/tensor_reader.hpp"

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

std::string_view name(Format format) noexcept {
  switch (format) {
    case Format::safetensors: return "safetensors";
    case Format::gguf: return "gguf";
    case Format::torch: return "torch";
    case Format::tfjs: return "tfjs";
    case Format::numpy: return "numpy";
  }
  return "unknown";
}

std::optional<Format> parse_format(std::string_view text) noexcept {
  using enum Format;
  for (const Format format : {safetensors, gguf, torch, tfjs, numpy}) {
    if (lower(text) == name(format)) return format;
  }
  return std::nullopt;
}

bool can_write(Format format) noexcept { return format == Format::safetensors || format == Format::gguf; }

std::optional<Format> format_of_suffix(const std::filesystem::path& path) {
  const std::string suffix = lower(path.extension().string());
  if (suffix == ".safetensors") return Format::safetensors;
  if (suffix == ".gguf") return Format::gguf;
  return std::nullopt;
}

Checkpoint Checkpoint::open(const std::string& location, const OpenOptions& options) {
  return Checkpoint(format::open_checkpoint(location, options));
}

const std::string& Checkpoint::location() const noexcept { return impl_->location; }
Format Checkpoint::format() const noexcept { return impl_->header.format; }
std::uint32_t Checkpoint::format_version() const noexcept { return impl_->header.version; }
std::size_t Checkpoint::files() const noexcept { return impl_->files.size(); }
const std::string& Checkpoint::file(std::size_t i) const noexcept { return impl_->files[i]->name(); }
std::uint64_t Checkpoint::file_bytes() const noexcept { return impl_->file_bytes(); }
std::uint64_t Checkpoint::data_offset() const noexcept { return impl_->header.data_offset; }
Access Checkpoint::access() const noexcept { return impl_->forward_only() ? Access::forward : Access::random; }
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
                {.file = impl_->file_of(tensor).name(),
                 .tensor = std::string(tensor.name),
                 .expected = std::to_string(tensor.bytes) + " bytes",
                 .found = std::to_string(first_byte) + " + " + std::to_string(out.size())});
  }
  flow::read_tensor(*impl_, tensor, first_byte, out);
}

}  // namespace headrace
