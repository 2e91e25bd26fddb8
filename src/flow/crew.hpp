// Crew: workers that share one queue of pieces, watched from the caller's thread.
#pragma once

#include "base/gate.hpp"
#include "base/workers.hpp"
#include "flow/failures.hpp"

#include <headrace/cancel.hpp>
#include <headrace/progress.hpp>

#include <chrono>
#include <exception>
#include <functional>

namespace headrace::flow {

/// Runs `work` on every piece of `queue` (next() and stop(), pieces with a `number`) on `threads` threads and returns
/// when all are done. Meanwhile `report` is called on this thread about ten times a second.
/// A failing piece stops the queue; pieces already begun are finished first, so the lowest failing one is known, and
/// its exception is thrown here. So are those of `report`. Cancellation poisons the gate and ends in Error(cancelled).
template <typename Queue, typename Work>
void run_crew(Queue& queue, const Work& work, unsigned threads, base::Gate& gate, const CancelToken& cancel,
              const std::function<void()>& report) {
  constexpr std::chrono::milliseconds kTick{100};
  Failures failures;
  const auto stop = cancel.on_cancel([&] {
    queue.stop();
    gate.poison();
  });
  std::exception_ptr from_report;
  {
    base::Workers workers(threads, [&]() noexcept {
      while (auto piece = queue.next()) {
        try {
          work(*piece);
        } catch (...) {
          failures.record(piece->number, std::current_exception());
          queue.stop();
        }
      }
    });
    while (!workers.wait_for(kTick)) {
      if (from_report || !report) continue;
      try {
        report();
      } catch (...) {
        from_report = std::current_exception();
        queue.stop();
      }
    }
  }
  cancel.throw_if_cancelled();
  if (from_report) std::rethrow_exception(from_report);
  failures.rethrow_if_any();
}

}  // namespace headrace::flow
