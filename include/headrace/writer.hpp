// CheckpointWriter: a checkpoint written tensor by tensor, in any order, from any thread.
//
//   headrace::CheckpointWriter writer("model.safetensors", {{{"w", headrace::DType::F32, {1000, 64}}}});
//   writer.write("w", bytes);
//   writer.commit();
#pragma once

#include <headrace/checkpoint.hpp>
#include <headrace/nonfinite.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <future>
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
  DType dtype = DType::F32;  ///< in the file
  std::vector<std::uint64_t> shape;
  /// The type of the bytes that are given to write, which are converted to `dtype` on the way: any floating or block
  /// type. Empty: they are the file's own.
  std::optional<DType> from = {};
};

struct WriterOptions {
  std::optional<Format> to = {};  ///< else by the path's suffix
  Metadata metadata = {};         ///< for safetensors: strings only
  bool force = false;             ///< replace an existing file on commit
  /// Bytes of tensors that a file shall hold at most; more files are made then, numbered from the path, and for
  /// safetensors an index beside them. A set of files never replaces another.
  std::optional<std::uint64_t> shard_size = {};
  /// Bytes of a safetensors header to keep free for declare(): a tensor takes its name and some 60 to 100 more.
  std::uint64_t header_reserve = 0;
  /// The name, in the output's folder, that the file has until commit(); a file of that name is replaced. Empty: none
  /// where the system can do that, so that even a kill leaves nothing. Not with `shard_size`.
  std::string temporary = {};
  Nonfinite nonfinite = Nonfinite::refuse;  ///< numbers that the type of a retyped tensor can't represent
  std::uint64_t memory = kDefaultMemory;    ///< bytes for the header and what is being retyped
  unsigned threads = 0;                     ///< most at once to retype what one call brings; 0: one per core
};

/// Writes a checkpoint whose tensors are declared first. The exact header is written at once and the file has its
/// final size from the start, so the order of the writes can't matter.
/// Nothing appears under the path before commit(); a writer that is dropped without it leaves nothing behind. After a
/// write or a commit that failed, other than for a mistake of the caller's that changed nothing, there is nothing left
/// to do but drop it. Thread-safety: all members from any threads at once, but for moving, assigning and destroying.
/// The caller's bytes are read during the call only.
class CheckpointWriter {
 public:
  /// Throws Error: invalid_argument (no format; a name twice; a shape that the format or the type can't have; options
  /// that contradict each other), unsupported (a type that the format can't hold or that can't be made), conflict (the
  /// path exists and `force` is off), budget (the header), no_space, io.
  CheckpointWriter(const std::filesystem::path& path, std::span<const TensorSpec> tensors,
                   const WriterOptions& options = {});
  ~CheckpointWriter();
  CheckpointWriter(CheckpointWriter&&) noexcept;
  CheckpointWriter& operator=(CheckpointWriter&&) noexcept;

  /// One more tensor, behind all others, in a single safetensors file; the header that names it is written by commit().
  /// Its first byte may lie at any address: safetensors has no padding. Waits for writes that are under way.
  /// Throws as the constructor does; unsupported for GGUF, whose header can't grow, and for shards; invalid_argument
  /// when what is left of `header_reserve` is too small.
  void declare(const TensorSpec& tensor);

  /// The whole tensor at once, row-major and little-endian. Throws Error: invalid_argument (unknown name, not exactly
  /// the tensor's bytes, bytes that came before), value (a number that the type can't represent: its bytes count as
  /// written, so the checkpoint can't be completed any more), budget, no_space, io.
  void write(std::string_view name, std::span<const std::byte> bytes);
  /// A part of a tensor; parts of one tensor may come in any order and be cut anywhere, each byte once. Counts in bytes
  /// of the type that is given. Of a tensor that changes its type, blocks that are begun and not yet whole are kept, up
  /// to half of `memory`.
  void write_at(std::string_view name, std::uint64_t first_byte, std::span<const std::byte> bytes);

  /// Flushes the file and gives it its name; of several, flushes all before the first gets its name. Waits for writes
  /// that are under way. Throws Error: invalid_argument naming the tensors whose bytes did not all come; conflict;
  /// io. After a throw the path is as it was.
  void commit();
  /// Checks at once that every byte came, throwing as commit() does, and leaves flushing and renaming to a thread of
  /// its own; their errors come out of the future. Destroying the future waits for them. The writer may be destroyed
  /// meanwhile.
  [[nodiscard]] std::future<void> commit_async();
  /// Completes the file under its `temporary` name, unflushed, and returns that path: flushing and renaming are the
  /// caller's. Throws as commit() does; invalid_argument without a `temporary`.
  std::filesystem::path leave();

  /// The files that commit() gives their names: one, or shards and their index.
  std::vector<std::filesystem::path> files() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace headrace
