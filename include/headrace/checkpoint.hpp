// Checkpoint: the reading side of any file of weights.
#pragma once

#include <headrace/access.hpp>
#include <headrace/metadata.hpp>
#include <headrace/source.hpp>
#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace headrace {

/// The file formats that Headrace reads; it writes the first two.
enum class Format : std::uint8_t { safetensors, gguf, torch, tfjs, numpy };

/// "safetensors", "gguf", "torch", … Static storage.
std::string_view name(Format format) noexcept;
std::optional<Format> parse_format(std::string_view name) noexcept;
/// True for safetensors and GGUF.
bool can_write(Format format) noexcept;
/// The format of a new file, by its suffix (".safetensors", ".gguf", any case).
std::optional<Format> format_of_suffix(const std::filesystem::path& path);

/// The memory a job may hold, unless told otherwise: 256 MiB.
inline constexpr std::uint64_t kDefaultMemory = std::uint64_t{256} << 20;

struct OpenOptions {
  std::uint64_t memory = kDefaultMemory;  ///< bytes that the header and its index may take
  SourceOptions source = {};
};

/// An open checkpoint: its header is read and checked, its tensors are read when asked for.
/// Its files stay open for the object's life, so renaming or deleting them does no harm; changing them does.
/// Thread-safety: const members may be called from any threads at once. Copies share the same open file.
class Checkpoint {
 public:
  /// `location`: a path, a folder, a URL or "-" (see SourceOptions). Recognises the format by the content and reads the
  /// header; of sharded checkpoints, all headers.
  /// Throws Error: io (can't be opened or read), format (breaks the format's rules), budget (header too large for
  /// `memory`), invalid_argument (options that don't fit what is there), cancelled (by `options.source.cancel`).
  static Checkpoint open(const std::string& location, const OpenOptions& options = {});

  /// As it was given, without the credentials that a URL may hold.
  const std::string& location() const noexcept;
  Format format() const noexcept;
  std::uint32_t format_version() const noexcept;  ///< 2 or 3 for GGUF, else 0
  std::size_t files() const noexcept;             ///< files, and packed entries of files, that its tensors lie in
  const std::string& file(std::size_t i) const noexcept;  ///< the location of file `i`
  std::uint64_t file_bytes() const noexcept;   ///< of all files; 2⁶⁴ − 1 for a stream of unknown length
  std::uint64_t data_offset() const noexcept;  ///< of a single file: where the tensors' bytes begin
  Access access() const noexcept;
  std::uint64_t memory() const noexcept;  ///< bytes that the header's index takes

  /// In the order of the header.
  std::span<const TensorInfo> tensors() const noexcept;
  /// By name; null when there is none. Constant time.
  const TensorInfo* find(std::string_view name) const noexcept;
  const Metadata& metadata() const noexcept;

  /// Fills `out` with the tensor's bytes from `first_byte` on: row-major, little-endian, whatever its encoding is.
  /// `tensor` must come from this checkpoint. Throws Error: invalid_argument (past the tensor's end), io, unsupported
  /// (of a forward-only checkpoint, bytes that have passed).
  void read(const TensorInfo& tensor, std::uint64_t first_byte, std::span<std::byte> out) const;

  struct Impl;
  explicit Checkpoint(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const noexcept { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace headrace
