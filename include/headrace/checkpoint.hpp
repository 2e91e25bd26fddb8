// Checkpoint: the reading side of any file of weights.
#pragma once

#include <headrace/access.hpp>
#include <headrace/metadata.hpp>
#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace headrace {

/// The file formats that Headrace reads and writes.
enum class Format : std::uint8_t { safetensors, gguf };

/// "safetensors", "gguf". Static storage.
std::string_view name(Format format) noexcept;
std::optional<Format> parse_format(std::string_view name) noexcept;
/// By the path's suffix (".safetensors", ".gguf", any case).
std::optional<Format> format_of_suffix(const std::filesystem::path& path);

/// The memory a job may hold, unless told otherwise: 256 MiB.
inline constexpr std::uint64_t kDefaultMemory = std::uint64_t{256} << 20;

struct OpenOptions {
  std::uint64_t memory = kDefaultMemory;  ///< bytes that the header and its index may take
};

/// An open checkpoint: its header is read and checked, its tensors are read when asked for.
/// The file stays open for the object's life, so renaming or deleting it does no harm; changing it does.
/// Thread-safety: const members may be called from any threads at once. Copies share the same open file.
class Checkpoint {
 public:
  /// Recognises the format by the file's content and reads the header.
  /// Throws Error: io (can't be opened or read), format (breaks the format's rules), budget (header too large for
  /// `memory`).
  static Checkpoint open(const std::filesystem::path& path, const OpenOptions& options = {});

  const std::filesystem::path& path() const noexcept;
  Format format() const noexcept;
  std::uint32_t format_version() const noexcept;  ///< 2 or 3 for GGUF, 0 for safetensors
  std::uint64_t file_bytes() const noexcept;
  std::uint64_t data_offset() const noexcept;  ///< where the tensors' bytes begin
  Access access() const noexcept;
  std::uint64_t memory() const noexcept;  ///< bytes that the header's index takes

  /// In the order of the header.
  std::span<const TensorInfo> tensors() const noexcept;
  /// By name; null when there is none. Constant time.
  const TensorInfo* find(std::string_view name) const noexcept;
  const Metadata& metadata() const noexcept;

  /// Fills `out` with the tensor's stored bytes from `first_byte` on.
  /// `tensor` must come from this checkpoint. Throws Error: invalid_argument (past the tensor's end), io.
  void read(const TensorInfo& tensor, std::uint64_t first_byte, std::span<std::byte> out) const;

  struct Impl;
  explicit Checkpoint(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const noexcept { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace headrace
