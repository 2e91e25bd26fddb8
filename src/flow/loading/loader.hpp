// Loader: runs a plan whose tensors go to memory, and gives them out as they become complete.
#pragma once

#include "base/gate.hpp"
#include "base/workers.hpp"
#include "flow/failures.hpp"
#include "flow/loading/arrivals.hpp"
#include "flow/loading/destinations.hpp"
#include "flow/loading/host_files.hpp"
#include "flow/loading/memory_sink.hpp"
#include "flow/loading/staging_ring.hpp"
#include "flow/meter.hpp"
#include "flow/piece_worker.hpp"
#include "flow/pieces.hpp"
#include "flow/read_slots.hpp"
#include "plan/plan.hpp"

#include <headrace/load.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

namespace headrace::flow {

/// Workers read, convert and send, unless there is nothing of that to do; the thread that asks for tensors waits for
/// what was sent, and so is the one that calls back. One thread at a time, but for what says otherwise.
class Loader {
 public:
  using Clock = std::chrono::steady_clock;

  /// Whether all tensors will be there at once, as far as is known.
  enum class Held { all, some };

  /// Starts to load. `begun`: when the work began, for the report. Throws Error: budget, no_space (of what will be held
  /// at once), unsupported.
  Loader(std::shared_ptr<const Plan::Impl> plan, std::shared_ptr<Device> device, LoadOptions options, Held held,
         Clock::time_point begun);
  /// Ends the work, and waits until it has.
  ~Loader();

  /// The next tensor that is complete; nothing after the last, when every source has said that its bytes were right.
  /// Calls options.on_progress. Throws what loading throws; then nothing more comes.
  std::optional<LoadedTensor> next();

  const Plan::Impl& plan() const noexcept { return *plan_; }
  // From any thread.
  Progress progress() const noexcept { return meter_.read(); }
  LoadReport report() const;

 private:
  void require_room(Held held) const;
  void start();
  void work() noexcept;
  void advance();
  void settle(Arrival arrival);
  void complete(std::uint32_t tensor);
  void finish();
  void let_go() noexcept;
  void send(LoadedTensor& tensor);
  void count(const LoadedTensor& tensor);
  double seconds() const;
  void tell_progress(bool always);
  void stop() noexcept;

  const std::shared_ptr<const Plan::Impl> plan_;
  const std::shared_ptr<Device> device_;  // where the tensors shall be
  const std::shared_ptr<Device> first_;   // and where they go first
  const LoadOptions options_;
  const Clock::time_point begun_;
  base::Gate gate_;
  const unsigned threads_;
  HostFiles files_;
  std::shared_ptr<StagingRing> ring_;  // null where nothing is staged
  PieceSizes sizes_;
  PieceQueue queue_;
  ReadSlots slots_;
  Arrivals arrivals_;
  Destinations destinations_;
  MemorySink sink_;
  const PieceWorker worker_;
  Meter meter_;
  Failures failures_;
  std::deque<LoadedTensor> ready_;     // complete, not given out yet
  std::deque<LoadedTensor> gathered_;  // complete on the host, on their way to the device when all have come
  mutable std::mutex reporting_;
  LoadReport report_;
  Clock::time_point told_{};
  bool over_ = false;
  std::shared_ptr<void> on_cancel_;
  std::optional<base::Workers> workers_;  // none where all is ready; dropped first: they use the rest
};

}  // namespace headrace::flow
