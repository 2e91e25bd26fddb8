// load: the weights of a checkpoint go to a device's memory, or the host's, as they arrive.
//
//   headrace::Weights weights = headrace::load("model.safetensors", "cuda:0", {.type = headrace::DType::BF16});
//   const headrace::LoadedTensor& embedding = weights.at("model.embed_tokens.weight");
//
// or one by one, for whoever has somewhere to put them:
//
//   headrace::WeightStream stream = headrace::stream("https://…/model.safetensors", "opencl:0");
//   while (auto tensor = stream.next()) engine.take(std::move(*tensor));
#pragma once

#include <headrace/checkpoint.hpp>
#include <headrace/device.hpp>
#include <headrace/nonfinite.hpp>
#include <headrace/progress.hpp>
#include <headrace/rules.hpp>
#include <headrace/shaping.hpp>
#include <headrace/writer.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

/// A tensor in memory: row-major, little-endian, without gaps; block types as blocks.
/// Movable. Thread-safety: const members from any threads.
struct LoadedTensor {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::uint64_t> shape = {};  ///< outermost first
  Buffer buffer = {};                     ///< on the device, or on the host: see buffer.device()
  Buffer host_copy = {};                  ///< with keep_host_copy, of a tensor on a device; else of 0 bytes
  std::size_t index = 0;                  ///< its place in the checkpoint's list

  std::uint64_t bytes() const noexcept { return buffer.bytes(); }
  /// True when the tensor itself is in the host's memory.
  bool on_host() const noexcept { return buffer.device() && buffer.device()->kind() == DeviceKind::host; }
  /// The tensor, or its copy, on the host; empty when there is none, and for a tensor of 0 bytes.
  std::span<const std::byte> host_bytes() const noexcept {
    return on_host() ? buffer.host_bytes() : host_copy.host_bytes();
  }
};

/// How tensors that stay as they are come from a file of this machine into the host's memory.
enum class HostReads : std::uint8_t {
  automatic,  ///< mapped, cached where the system can't map it; on the way to a device direct where the system's cache
              ///< has little of the file, else cached
  mapped,  ///< the file's pages are the memory, private and writable: see FileMapping for what that asks of the file,
           ///< and what bringing it does
  cached,  ///< read through the system's cache
  direct,  ///< read past it, leaving it as it is
};

struct LoadOptions {
  /// False: all tensors are gathered on the host first, and go to the device when the last has come.
  bool stream_weights = true;
  /// Tensors of fewer elements stay on the host, where graphs' shapes and other small things are wanted; 0: none do.
  std::uint64_t host_threshold = 1000;
  bool keep_host_copy = false;     ///< of the tensors on the device: save() needs them
  std::optional<DType> type = {};  ///< of every tensor that can take it: see ConvertOptions::type
  std::vector<Rule> rules = {};    ///< the first that matches decides, before `type`
  Shaping shaping = {};            ///< `select`, `drop`, `renames`, …
  /// The names that are expected, after shaping. One that is missing or one too many is an error before a tensor is
  /// read.
  std::optional<std::vector<std::string>> strict = {};
  /// What will come, in the checkpoint's order, with the types and shapes that it will have; views, valid during the
  /// call. Called before a tensor is read, on the thread that called load. It may throw: nothing is read then, and the
  /// exception reaches the caller.
  std::function<void(std::span<const TensorInfo> tensors)> on_plan = {};
  /// Memory of the caller's for a tensor (its name, shape, type and bytes in `tensor`), as Device::wrap gives it, of
  /// exactly its bytes; a buffer of no device: the loader's own. Called before the tensor's first byte comes, on a
  /// worker's thread, one call at a time; where weights are gathered for a device, when the last byte of all has come,
  /// on the thread that asks for the tensor. Not for tensors that stay on the host though the device is another.
  std::function<Buffer(const TensorInfo& tensor)> allocate = {};
  Nonfinite nonfinite = Nonfinite::refuse;  ///< numbers that the type asked for can't represent
  HostReads host_reads = HostReads::automatic;
  /// Every tensor on the host begins at a multiple of this, a power of two; 0: as the device has it (64), and mapped
  /// ones at a multiple of their elements' size.
  std::size_t alignment = 0;
  bool huge_pages = true;                 ///< ask the system for huge pages for large tensors on the host
  std::uint64_t memory = kDefaultMemory;  ///< bytes of the host, beyond the tensors themselves
  unsigned threads = 0;                   ///< workers; 0: one per core
  /// Where it comes from: connections, headers and so on. `source.cancel` ends all of it with Error(cancelled).
  SourceOptions source = {};
  ProgressCallback on_progress = {};
  /// Each tensor in the order of arrival, all of its bytes on their device, on the thread that called load. It may
  /// throw: loading ends then, and the exception reaches the caller.
  std::function<void(const std::string& name, const LoadedTensor& tensor)> on_tensor = {};
};

struct LoadReport {
  std::uint64_t tensors = 0, host_tensors = 0;     ///< all; those of them on the host
  std::uint64_t device_bytes = 0, host_bytes = 0;  ///< of tensors, copies apart; on a host `device` all are host_bytes
  std::uint64_t mapped_bytes = 0;                  ///< of host_bytes: pages of files
  std::uint64_t source_bytes = 0;                  ///< of the tensors as they came
  double seconds = 0;                              ///< from opening the source to the last tensor
  double seconds_to_first = 0;                     ///< to the first tensor
  std::uint64_t peak_budget = 0;                   ///< most bytes of the budget that were held at once
};

/// The weights of a checkpoint in memory, by name. Movable. Thread-safety: const members from any threads.
class Weights {
 public:
  Weights(Weights&&) noexcept;
  Weights& operator=(Weights&&) noexcept;
  ~Weights();

  std::size_t size() const noexcept;
  /// In the order of the checkpoint's list.
  std::vector<LoadedTensor>::const_iterator begin() const noexcept;
  std::vector<LoadedTensor>::const_iterator end() const noexcept;
  /// Null when there is none.
  const LoadedTensor* find(std::string_view name) const noexcept;
  /// Throws Error(invalid_argument) when there is none.
  const LoadedTensor& at(std::string_view name) const;
  /// Takes a tensor out: it is the caller's from then on. Throws as `at`.
  LoadedTensor take(std::string_view name);

  /// Of the source, as it was given, without the credentials that a URL may hold.
  const std::string& location() const noexcept;
  const Metadata& metadata() const noexcept;  ///< the source's
  const LoadReport& report() const noexcept;

  /// Writes them to a checkpoint, from the host's memory: `options` as for CheckpointWriter, its metadata in front of
  /// the source's. Throws Error(unsupported), before any file is touched, when a tensor is on a device and has no host
  /// copy; else as CheckpointWriter does.
  void save(const std::filesystem::path& path, WriterOptions options = {}) const;

 private:
  friend Weights load(const std::string&, std::shared_ptr<Device>, const LoadOptions&);
  struct Impl;
  explicit Weights(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Tensors as they come. What the caller takes is the caller's, and costs the budget nothing: who keeps all of them has
/// the same weights as from load(). While the caller doesn't ask, at most `memory` bytes are read ahead.
/// Destroying it ends the work; buffers that were not taken go. Movable. Thread-safety: one thread at a time, but for
/// progress() and report(), which any thread may call meanwhile.
class WeightStream {
 public:
  WeightStream(WeightStream&&) noexcept;
  WeightStream& operator=(WeightStream&&) noexcept;
  ~WeightStream();

  /// The next tensor that is complete, waiting for it; nothing after the last, when the source has also said that its
  /// checksums held. Throws as load(); then nothing more comes. `on_tensor` isn't called.
  std::optional<LoadedTensor> next();

  std::size_t size() const noexcept;             ///< tensors in all
  const std::string& location() const noexcept;  ///< as Weights::location
  const Metadata& metadata() const noexcept;     ///< the source's
  /// The source's in the language of a format, as Weights::save writes it: for who writes these tensors to one.
  Metadata metadata_for(Format to) const;
  Progress progress() const noexcept;
  LoadReport report() const;  ///< so far

 private:
  friend WeightStream stream(const std::string&, std::shared_ptr<Device>, const LoadOptions&);
  struct Impl;
  explicit WeightStream(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Loads every tensor of `location` (see SourceOptions) that `options` select. Bytes are cut into tensors as they come,
/// converted where another type is asked for, and pushed to the device at once, through staging memory within
/// `options.memory`; on the host they are read where they stay. Returns when the last has arrived.
/// Throws Error: io, format, budget, cancelled as Checkpoint::open does; invalid_argument (options that don't fit what
/// is there, a buffer of `allocate` that doesn't fit its tensor); conflict (`strict`); unsupported (a type that can't
/// be made; a tensor that the device has no room for in one piece); no_space (the device, or the host, hasn't the
/// memory); value. Whatever is thrown, every buffer of the loader's is freed first.
Weights load(const std::string& location, std::shared_ptr<Device> device, const LoadOptions& options = {});
/// `device`: as for open_device.
Weights load(const std::string& location, std::string_view device = "host", const LoadOptions& options = {});

/// The same as a pull. Returns when the header has been read. A device needs room for the tensors that are there at
/// once, not for all of them: who drops tensors can have more of them pass than it holds.
WeightStream stream(const std::string& location, std::shared_ptr<Device> device, const LoadOptions& options = {});
WeightStream stream(const std::string& location, std::string_view device = "host", const LoadOptions& options = {});

}  // namespace headrace
