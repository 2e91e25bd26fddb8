// Residency: models larger than a device's memory. Units of tensors are on the device while they are needed, under a
// limit that is kept, and are fetched before they are needed.
//
//   headrace::Residency residency(headrace::open_device("cuda:0"), {.limit = std::uint64_t{8} << 30});
//   const headrace::ModelId model = residency.add("unet", map, units);
//   residency.onload(model);
//   for (std::uint32_t unit = 0; unit < units.size(); ++unit) {
//     const headrace::Lease lease = residency.lease({{model, unit}});
//     compute(lease.tensor("blocks.0.weight").buffer);
//   }
#pragma once

#include <headrace/cancel.hpp>
#include <headrace/device.hpp>
#include <headrace/disk_map.hpp>
#include <headrace/load.hpp>
#include <headrace/nonfinite.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

/// Where a unit's tensors are, the farthest first.
enum class Place : std::uint8_t { disk, host, device };

/// "disk", "host", "device". Static storage.
const char* to_string(Place place) noexcept;

struct UnitState {
  Place place = Place::disk;
  /// Of every tensor of real numbers whose rows are whole blocks of it; others, and all when it is empty, stay what
  /// they are in the state before.
  std::optional<DType> dtype = {};
};

/// What a unit is from its farthest state to its nearest. Places only get nearer, and computation is on the device.
/// Numbers go through all of the types in turn (the map's, offload, onload, preparing, computation), wherever they come
/// from: computation sees the same bytes whatever was held. Where several states before computation have one place,
/// what is held there is the last one's.
struct UnitStates {
  UnitState offload = {};                       ///< its model isn't in use
  UnitState onload = {};                        ///< its model is in use
  UnitState preparing = {Place::device, {}};    ///< it will be used soon, or there is room for it anyway
  UnitState computation = {Place::device, {}};  ///< it is leased
};

/// Tensors that are used together.
struct UnitSpec {
  std::string name;
  std::vector<std::string> tensors;  ///< names in the map
  UnitStates states = {};
};

enum class ModelId : std::uint32_t {};

/// A unit: its number is its place in the list that its model was added with.
struct UnitRef {
  ModelId model = {};
  std::uint32_t unit = 0;
  friend bool operator==(const UnitRef&, const UnitRef&) = default;
};

struct ResidencyOptions {
  /// Bytes of tensors on the device at once; empty: no limit. 0: nothing stays there, and one lease after the other has
  /// its units there, however large they are.
  std::optional<std::uint64_t> limit = {};
  /// Bytes of tensors in states at Place::host; empty: no limit. What doesn't fit is read from disk again.
  std::optional<std::uint64_t> host_limit = {};
  /// Ask the device how much of its memory is free before anything is put there: others use it too. No effect where
  /// the driver can't say.
  bool watch_free_memory = false;
  std::uint64_t reserve = 0;                       ///< of that, bytes to leave free
  unsigned threads = 2;                            ///< that fetch ahead of use; 0: nothing is
  unsigned ahead = 2;                              ///< units to have ready before their use at others' expense
  std::uint64_t memory = std::uint64_t{64} << 20;  ///< bytes of the host for staging and what is being converted
  Nonfinite nonfinite = Nonfinite::refuse;         ///< numbers that a state's type can't represent
  std::size_t trace_events = 0;                    ///< the last so many are kept for write_trace; 0: none
};

/// Since the manager was made. Bytes are of tensors.
struct ResidencyStats {
  std::uint64_t leases = 0, units = 0;                    ///< given; units in them
  std::uint64_t hits = 0;                                 ///< of `units`: on the device when they were asked for
  std::uint64_t stalls = 0;                               ///< leases that had to wait, for room or for bytes
  double stalled_seconds = 0;                             ///< what they waited in all
  std::uint64_t prefetched = 0;                           ///< units fetched to the device ahead of use
  std::uint64_t prefetch_used = 0;                        ///< of those: leased after
  std::uint64_t prefetch_wasted = 0;                      ///< of those: evicted before
  std::uint64_t prefetch_failed = 0;                      ///< that ended in an error
  std::uint64_t evictions = 0, host_evictions = 0;        ///< of units, from the device and from the host
  std::uint64_t bytes_read = 0, bytes_uploaded = 0;       ///< from maps; to the device
  std::uint64_t device_bytes = 0, peak_device_bytes = 0;  ///< promised: there, or about to be; no spare memory
  std::uint64_t host_bytes = 0, peak_host_bytes = 0;

  /// Units that were there when they were asked for, of all: 0 to 1.
  double hit_rate() const noexcept { return units == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(units); }
};

/// The right to use some units: their tensors are on the device, in their computation types, until it is released or
/// destroyed. It may outlive its Residency. Movable. Thread-safety: const members from any threads.
class Lease {
 public:
  Lease() noexcept;
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;
  ~Lease();

  /// By name, of the first of the lease's units that has it; the reference is good until the lease is released.
  /// Work on it that is queued on the device must be over by then. Throws Error(invalid_argument) when there is none.
  const LoadedTensor& tensor(std::string_view name) const;
  /// Of one of them. Throws likewise.
  const LoadedTensor& tensor(UnitRef unit, std::string_view name) const;
  /// All of a unit's, in the order of its spec. Throws Error(invalid_argument) when the unit isn't in the lease.
  std::vector<const LoadedTensor*> tensors(UnitRef unit) const;

  /// Gives the units back; nothing when that was done.
  void release() noexcept;

 private:
  friend class Residency;
  struct Impl;
  explicit Lease(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Units of any number of models on one device, under one limit.
///
/// Bytes are promised before memory is allocated and given back after it is freed, so the limit holds at every instant;
/// it counts tensors' bytes, not what a driver rounds them to. Memory of units that made way stays for the next ones
/// while there is room within the limit. The order in which each model's units are leased is learned from what came
/// before, and the next ones are fetched by threads of the manager's while the caller computes. What makes room is the
/// unit whose next use is farthest; leased ones stay. A lease that waits for room goes before all fetching ahead, and
/// leases are served in the order in which they were asked for. Who holds one and asks for another may wait for itself:
/// ask for all at once, or give a timeout.
/// Movable. Thread-safety: every member from any threads at once.
class Residency {
 public:
  /// `device`: any, the host's too. Throws Error(budget) when `memory` is too small for a piece of staging memory.
  explicit Residency(std::shared_ptr<Device> device, const ResidencyOptions& options = {});
  Residency(Residency&&) noexcept;
  Residency& operator=(Residency&&) noexcept;
  /// Ends what is being fetched, after the piece at hand, and frees all that isn't leased. Leases that wait end with
  /// Error(cancelled).
  ~Residency();

  /// A model, in its offload state, with its units. Reads nothing. The map stays for as long as the manager.
  /// Throws Error: invalid_argument (no such tensor, two units of one name, states that get farther), unsupported (a
  /// state's type can't be made, or a tensor's can't be read).
  ModelId add(std::string name, std::shared_ptr<const DiskMap> map, std::vector<UnitSpec> units);
  /// Throws Error(invalid_argument) when the model has no unit of this name.
  UnitRef unit(ModelId model, std::string_view name) const;
  /// Bytes that a unit takes on the device when it is leased.
  std::uint64_t bytes(UnitRef unit) const;

  /// The model is in use from now on: its units are brought to their onload places in the background, as far as the
  /// limits leave room, and stay on the device between leases. Returns at once.
  void onload(ModelId model);
  /// It isn't any more: what isn't leased goes back to its offload place before this returns, the rest when released.
  void offload(ModelId model);

  /// Waits until all units are on the device, each counted once. Units of offloaded models may be among them.
  /// Throws Error: no_space (the units are larger than the limit, or the device has no memory), invalid_argument (no
  /// such unit), cancelled (`cancel`, or no room within `timeout`: the message says who has it); what reading them met:
  /// io, format, value, budget. After a throw nothing is held, and the next lease tries again.
  Lease lease(std::span<const UnitRef> units, std::optional<std::chrono::milliseconds> timeout = {},
              const CancelToken& cancel = {});
  Lease lease(std::initializer_list<UnitRef> units, std::optional<std::chrono::milliseconds> timeout = {},
              const CancelToken& cancel = {}) {
    return lease(std::span(units.begin(), units.size()), timeout, cancel);
  }

  /// What the caller knows of the order in which units will be leased, once through: stands in for what a pass would
  /// have taught, until one does. Throws Error(invalid_argument) for a unit that isn't there.
  void hint(std::span<const UnitRef> order);

  ResidencyStats stats() const;
  /// What happened when, as JSON that Chrome's trace viewer opens (chrome://tracing, Perfetto): reads, casts, uploads,
  /// waits, leases and evictions, a line per thread. Throws Error: invalid_argument without `trace_events`; io.
  void write_trace(const std::filesystem::path& path) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headrace
