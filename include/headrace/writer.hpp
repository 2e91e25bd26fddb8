// CheckpointWriter: a checkpoint written tensor by tensor, in any order, from any thread.
#pragma once

#include <headrace/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

/// A tensor to be written. Shape outermost first.
struct TensorSpec {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::uint64_t> shape;
};

struct WriterOptions {
  std::optional<Format> to = {};  ///< else by the path's suffix
  Metadata metadata = {};         ///< for safetensors: strings only
  bool force = false;             ///< replace an existing file on commit
};

/// Writes a checkpoint whose tensors are all declared first. The exact header is written at once and the file has its
/// final size from the start, so the order of the writes can't matter.
/// Nothing appears under the path before commit(); a writer that is dropped without it leaves nothing behind.
/// Thread-safety: write and write_at from any threads at once; commit from one, after the writes.
class CheckpointWriter {
 public:
  /// Throws Error: invalid_argument (no format; a name twice; a shape that the format or the type can't have),
  /// unsupported (a type that the format can't hold), conflict (the path exists and `force` is off), no_space, io.
  CheckpointWriter(const std::filesystem::path& path, std::span<const TensorSpec> tensors,
                   const WriterOptions& options = {});
  ~CheckpointWriter();
  CheckpointWriter(CheckpointWriter&&) noexcept;
  CheckpointWriter& operator=(CheckpointWriter&&) noexcept;

  /// The whole tensor at once. Throws Error: invalid_argument (unknown name, or not exactly the tensor's bytes), io.
  void write(std::string_view name, std::span<const std::byte> bytes);
  /// A part of a tensor; parts of one tensor may come in any order, each byte once.
  void write_at(std::string_view name, std::uint64_t first_byte, std::span<const std::byte> bytes);

  /// Flushes the file and gives it its name. Throws Error: invalid_argument naming the tensors whose bytes did not all
  /// come; conflict; io. After a throw the path is as it was.
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headrace
