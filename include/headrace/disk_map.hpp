// DiskMap: checkpoints as a map from name to tensor, of which nothing is in memory until it is asked for.
//
//   headrace::DiskMap map(std::vector<std::string>{"model-1.safetensors", "model-2.safetensors"},
//                         {.type = headrace::DType::BF16});
//   map.read("blocks.0.weight", bytes);
#pragma once

#include <headrace/checkpoint.hpp>
#include <headrace/load.hpp>
#include <headrace/nonfinite.hpp>
#include <headrace/rules.hpp>
#include <headrace/shaping.hpp>
#include <headrace/writer.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

struct DiskMapOptions {
  std::optional<DType> type = {};  ///< that tensors are given as: see ConvertOptions::type; empty: as they are
  std::vector<Rule> rules = {};    ///< the first that matches decides, before `type`; none may be an rmse: rule
  Shaping shaping = {};            ///< `select`, `renames`, …
  /// After shaping: a tensor's name in the map. Empty: the tensor isn't in it. Called when the map is made, by the
  /// thread that makes it.
  std::function<std::string(std::string_view name)> rename = {};
  Nonfinite nonfinite = Nonfinite::refuse;  ///< numbers that the type asked for can't represent
  SourceOptions source = {};                ///< `cancel` ends every read
  /// Bytes for indexes, for what is being converted and what is read ahead; beside it, at most as many of files' pages
  /// that nobody has and that stay mapped: see DiskMap::view.
  std::uint64_t memory = kDefaultMemory;
  unsigned threads = 0;  ///< most that read one tensor; 0: one per core
};

/// Since the map was made. Uses of mapped tensors (DiskMap::map) don't count.
struct DiskMapStatistics {
  std::uint64_t reads = 0;         ///< tensors, or parts of some, given
  std::uint64_t bytes_read = 0;    ///< of the sources
  std::uint64_t bytes_given = 0;   ///< after conversion
  std::uint64_t prefetched = 0;    ///< tensors that prefetch() was asked for
  std::uint64_t cached_bytes = 0;  ///< of prefetched tensors that the map holds now
};

/// A tensor where it lies in its file: pages of the system's cache are its memory. Who writes to them has pages of his
/// own. Movable; the memory stays until this and the buffer taken out of it are gone. A buffer that outlives it is as
/// any mapping: a file that is cut short then ends the program that looks. Thread-safe.
class MappedTensor {
 public:
  LoadedTensor tensor;

  /// Who looks at it afterwards doesn't wait for the disk: what the system's cache hasn't is read into this process's
  /// memory before this returns. True when the cache had it, as far as three glances at a large one show; false too
  /// where the system doesn't say. Throws Error(io).
  bool bring() const;
  /// True once the system's cache has given most of it up, where it says so (Linux 6.5): who looks waits for the disk.
  bool is_lost() const noexcept;
  /// They leave this process's memory, with what was written to them. Looked at again they come back, one after the
  /// other.
  void let_go() const noexcept;
  /// Throws Error(io) when what was seen of it may not have been the file's: the file was written to or cut short since
  /// the map was made, or a page of it couldn't be read, in whose place zeros were seen then. Of a tensor that is in
  /// use for a while, ask before and after.
  void require_intact() const;

 private:
  friend class DiskMap;
  class Pages;
  MappedTensor() = default;
  std::shared_ptr<const Pages> pages_;
};

/// Files are opened once and stay open: one that is replaced by another of its name is still read, one that is written
/// to is an error. Movable. Thread-safety: const members from any threads at once.
class DiskMap {
 public:
  /// Reads the headers of all `locations` (see SourceOptions). Throws Error: what Checkpoint::open throws; conflict
  /// when two tensors have one name; invalid_argument for a stream, whose bytes come only once, and for rules or
  /// patterns that are bad; unsupported when a tensor can't become what is asked for.
  explicit DiskMap(std::span<const std::string> locations, const DiskMapOptions& options = {});
  explicit DiskMap(const std::string& location, const DiskMapOptions& options = {});
  DiskMap(DiskMap&&) noexcept;
  DiskMap& operator=(DiskMap&&) noexcept;
  ~DiskMap();

  /// As they are given: name, type, shape and bytes. In the order of the sources; views into the map.
  std::span<const TensorInfo> tensors() const noexcept;
  /// Null when there is none. Constant time.
  const TensorInfo* find(std::string_view name) const noexcept;
  bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }
  /// The path or URL of the file that a tensor is in, the first of several. Throws Error(invalid_argument).
  const std::string& file_of(std::string_view name) const;
  /// Of the files of this machine that tensors are in, in the order of the sources.
  std::vector<std::string> files() const;

  /// Fills `out`, of exactly the tensor's bytes, with its numbers: row-major, little-endian, converted if need be.
  /// Of a tensor that is given as it is stored, what the system's cache has lost since the last use is read past it:
  /// see `load_past_cache`. Throws Error: invalid_argument (no such tensor, another size), io, format, value, budget,
  /// cancelled.
  void read(std::string_view name, std::span<std::byte> out) const;
  /// Part of it: what `out` holds, from byte `offset` of the tensor on, by the calling thread alone. Both ends must be
  /// at whole blocks of its type and of the one it is stored in (a multiple of 256 elements, or its end, always is).
  void read_part(std::string_view name, std::uint64_t offset, std::span<std::byte> out) const;
  /// The tensor in new memory of a device; without a name of one, the host's. Throws as `read`, and no_space.
  LoadedTensor load(std::string_view name, const std::shared_ptr<Device>& device = {}) const;
  /// The tensor where it lies in its file, in memory when this returns. The pages are this process's own: who writes to
  /// them writes to no file, and nobody else sees it. Those of a tensor that was let go of stay mapped for whoever asks
  /// next, DiskMapOptions::memory at most; those that nobody wrote to the system can take. The buffer may outlive the
  /// map. While it is used the file should stay as it is: one that is cut short ends the program that looks. Nothing
  /// where it can't be had so: it isn't given as it is stored, is small (below 128 KiB), isn't in a file of this
  /// machine, can't be read (which `read` will explain), or lies where computing with it could give other results than
  /// with a copy: numbers of more than 2 bytes not at a multiple of 64, others not at one of their size. Throws Error:
  /// invalid_argument (no such tensor), io (the file was written to since the map was made; a read past the cache
  /// failed).
  std::optional<LoadedTensor> view(std::string_view name) const;
  /// The same for whoever uses it again and again, and says when: see MappedTensor. Reads nothing yet, so a file that
  /// can't be read is an error when it is brought; else nothing for what `view` has nothing of. Throws what it throws.
  /// `around`: what is in this process's memory while it is brought. large_pages: of one of 4 MiB or more, all of the
  /// 2 MiB that it begins and ends in, so up to 4 MiB of its neighbours' pages, because the system maps a large page of
  /// its cache at once only where it may map all of it: for what comes and goes. nothing: for what stays.
  enum class Around : std::uint8_t { nothing, large_pages };
  std::optional<MappedTensor> map(std::string_view name, Around around = Around::large_pages) const;

  /// For whoever uses a mapped tensor again and again, before each use: nothing while the system's cache has it, or
  /// shall be given it; then its pages are what to look at (MappedTensor::bring). What the cache has lost since the
  /// last use, of a model larger than it, is read past it, so that the rest stays there: this is that copy, in memory
  /// that is used again once its buffer has gone. After some uses the cache is tried again. Nothing too where the
  /// system doesn't say what is cached (Linux before 6.5, another user's file, some file systems), or the file can't be
  /// read so. `view`, `read`, `read_part` and `load` do the same by themselves, of tensors from 128 KiB on. Throws
  /// Error: invalid_argument (no such tensor), io.
  std::optional<LoadedTensor> load_past_cache(std::string_view name) const;

  /// These will be wanted soon: in the background, one after the other, they are brought into the system's cache; what
  /// is not in a file of this machine is fetched, and held until it is released; and what would be read past that cache
  /// is, and held until it is asked for: one such tensor, or as many as fit in a tenth of DiskMapOptions::memory.
  /// Returns at once how many of them have to be read or fetched. What goes wrong there, `read` will meet again. Throws
  /// Error(invalid_argument) for a name that isn't there.
  std::size_t prefetch(std::span<const std::string> names) const;
  /// These won't be wanted for a while: what was prefetched, or stays mapped, is freed; with `page_cache`, the system
  /// is asked to drop what it has cached of them too.
  void release(std::span<const std::string> names, bool page_cache = false) const;

  /// Throws Error(conflict) unless the map has exactly the tensors of `specs`, of those shapes, and, where a spec says
  /// `from`, of that type: with every missing, unexpected and mismatched one. Reads no tensor.
  void require(std::span<const TensorSpec> specs) const;

  DiskMapStatistics statistics() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headrace
