// Core: what a manager and its leases share. Who holds what, who waits for what, what is fetched next.
//
// One lock guards all of it but the bytes: those are read, converted, uploaded and freed outside of it, by whoever has
// marked the unit busy. Its parts: core.cpp (models), leases.cpp, room.cpp (what is promised, what has to go),
// fetching.cpp (what is made, and ahead of use).
#pragma once

#include "base/workers.hpp"
#include "residency/account.hpp"
#include "residency/maker.hpp"
#include "residency/order.hpp"
#include "residency/trace.hpp"
#include "residency/unit.hpp"

#include <headrace/residency.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace headrace::residency {

struct Model {
  std::string name;
  std::uint32_t first_unit = 0, units = 0;  // among all of the manager's
  bool in_use = false;
  Order order;
  std::uint64_t last_lease = 0;  // as a count of all leases
};

/// What there is of a unit beside the form that is kept, while it is leased.
enum class Computation : std::uint8_t {
  none,
  differing,  // the tensors that have another type there than in the kept form
  all,        // all tensors: there is no kept form
};

/// A unit and what there is of it.
struct Entry {
  Entry(Unit fixed, std::uint32_t its_number, Model& its_model)
      : unit(std::move(fixed)), number(its_number), model(its_model) {}

  const Unit unit;
  const std::uint32_t number;  // among all of the manager's
  Model& model;

  Form host, kept, computation;
  bool host_here = false;
  bool kept_promised = false, kept_here = false;
  Computation promised = Computation::none;
  bool computation_here = false;

  bool busy = false;              // somebody makes one of the forms; until then nothing of it is taken away
  std::atomic<bool> stop{false};  // whoever makes it for nobody shall end
  unsigned pins = 0;              // leases that have it or wait for it
  bool ahead = false;             // on the device, or on its way there, without having been asked for yet
  bool failed = false;            // making it has failed: none but a lease tries again, and is told

  std::uint32_t index() const noexcept { return number - model.first_unit; }
  bool idle() const noexcept { return pins == 0 && !busy; }
  /// Whether computation sees the kept form alone.
  bool kept_suffices() const noexcept { return unit.device && unit.extra_bytes == 0; }
  bool ready() const noexcept;
  /// The tensor that computation is to see, once it is ready.
  const LoadedTensor& tensor(std::size_t i) const noexcept;
};

/// What is to be freed, and the promises that end with it.
struct Garbage {
  std::vector<Form> device, host;
  std::uint64_t device_promise = 0, host_promise = 0;
  std::uint32_t unit = kNoUnit;  // the last of them
  bool makes_way = false;        // for others, that may have the same memory

  bool empty() const noexcept { return device.empty() && host.empty() && device_promise == 0 && host_promise == 0; }
};

/// Thread-safe. Leases keep it after its manager has closed it.
class Core {
 public:
  Core(std::shared_ptr<Device> device, const ResidencyOptions& options);
  /// See Residency's destructor.
  void close() noexcept;

  ModelId add(std::string name, const std::shared_ptr<const DiskMap>& map, const std::vector<UnitSpec>& units);
  UnitRef find(ModelId model, std::string_view name);
  Entry& at(UnitRef unit);
  void onload(ModelId model);
  void offload(ModelId model);
  void hint(std::span<const UnitRef> order);
  ResidencyStats stats() const;
  void write_trace(const std::filesystem::path& path) const;

  using Set = std::vector<Entry*>;
  /// `set`: no unit twice.
  void lease(const Set& set, std::optional<std::chrono::milliseconds> timeout, const CancelToken& cancel);
  void release(const Set& set, Clock::time_point since) noexcept;

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Request;  // a lease on its way

  // core.cpp
  void changed() noexcept;
  Model& model_at(ModelId model);
  std::vector<Entry*> entries_of(const Model& model);

  // leases.cpp
  void require_possible(const Set& set) const;
  void admit(Lock& lock, const Request& request);
  void settle(Lock& lock, const Request& request);
  void make_or_make_room(Lock& lock, const Request& request, Entry& entry);
  void wait(Lock& lock, const Request& request);
  void commit(const Set& set);
  void unpin(Lock& lock, const Set& set);
  [[noreturn]] void refuse_wait(const Request& request) const;

  // room.cpp
  bool may_keep(const Entry& entry) const noexcept;
  bool may_hold(const Entry& entry) const noexcept;
  std::uint64_t device_room() const;
  std::uint64_t need_of(const Entry& entry) const noexcept;
  std::uint64_t next_use(const Entry& entry) const noexcept;
  std::vector<Entry*> victims(const Set& spared, std::uint64_t sooner_than);
  bool promise_lease(Lock& lock, const Set& set);
  bool make_room(Lock& lock, const Set& set, std::uint64_t need, std::uint64_t sooner_than);
  bool drop_own(Lock& lock, const Set& set, std::uint64_t evictable);
  void require_others(const Set& set, std::uint64_t need) const;
  bool promise_host(Lock& lock, Entry& entry, std::uint64_t needed_in);
  void take_kept(Entry& entry, Garbage& garbage);
  void take_computation(Entry& entry, Garbage& garbage);
  void take_host(Entry& entry, Garbage& garbage);
  void trim(Entry& entry, Garbage& garbage);
  void discard(Lock& lock, Garbage garbage);

  // fetching.cpp
  struct Job {
    Entry* entry = nullptr;
    bool host = false;  // to the host alone; it is promised
  };
  void fetch() noexcept;
  std::optional<Job> next_job(Lock& lock);
  std::optional<Job> job_ahead(Lock& lock);
  std::optional<Job> job_idle(Lock& lock);
  Entry* next_missing(const Model& model, bool& expected_soon);
  bool is_missing(const Entry& entry) const noexcept;
  bool promise_ahead(Lock& lock, Entry& entry, bool at_others_expense);
  void run(Lock& lock, const Job& job) noexcept;
  void make(Lock& lock, Entry& entry, bool host_promised, const std::function<void()>& check);

  const std::shared_ptr<Device> device_;
  const ResidencyOptions options_;
  mutable Trace trace_;
  Spares spares_;
  Maker maker_;

  mutable std::mutex mutex_;  // of all that follows
  std::condition_variable changed_;
  std::uint64_t changes_ = 0;  // that were told of: who let the lock go knows by it whether to look again
  Account device_account_, host_account_;
  std::deque<Model> models_;
  std::deque<Entry> entries_;  // never moved: leases point at them
  std::deque<const Request*> waiting_;
  std::uint64_t freed_ = 0;             // bytes of the device that forms had, so far
  std::uint64_t discards_ = 0;          // so far
  std::set<std::uint64_t> discarding_;  // those of them that aren't over
  bool closed_ = false;
  ResidencyStats counts_;  // what is counted as it happens
  std::unique_ptr<base::Workers> fetchers_;
};

}  // namespace headrace::residency
