// Long work with the GIL released, which Ctrl-C ends.
#pragma once

#include <headrace/cancel.hpp>
#include <headrace/error.hpp>
#include <headrace/progress.hpp>

#include <nanobind/nanobind.h>

#include <chrono>
#include <future>
#include <utility>

namespace headrace::python {

namespace nb = nanobind;

/// The GIL is released while it lives. Unlike nanobind's, it may end while the program does: a thread that outlives the
/// interpreter is parked for good then, where taking the GIL would end the process.
class GilReleased {
 public:
  GilReleased() noexcept : state_(PyEval_SaveThread()) {}
  ~GilReleased();
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

 private:
  PyThreadState* state_;
};

/// The GIL, held for a while by a thread that has released it; parked as GilReleased is. The end of the program waits
/// for those who have it.
class GilAgain {
 public:
  GilAgain() noexcept;
  ~GilAgain();
  GilAgain(const GilAgain&) = delete;
  GilAgain& operator=(const GilAgain&) = delete;

 private:
  PyGILState_STATE state_;
};

/// The GIL, held on a thread that isn't Python's for as long as it lives. Throws Error(cancelled) where the interpreter
/// is ending, and taking the GIL would end the process; the end waits for those who have it.
class GilOnWorker {
 public:
  GilOnWorker();
  ~GilOnWorker();
  GilOnWorker(const GilOnWorker&) = delete;
  GilOnWorker& operator=(const GilOnWorker&) = delete;

  /// Throws what the constructor would throw now.
  void check() const;

 private:
  PyGILState_STATE state_;
};

/// Returns `call()`, called with the GIL by a thread that isn't Python's. Throws as GilOnWorker does, and what `call`
/// throws.
template <typename Call>
auto on_worker(Call&& call) {
  const GilOnWorker held;
  try {
    return call();
  } catch (const nb::python_error&) {
    held.check();  // letting go of what was raised takes the GIL too
    throw;
  }
}

/// Calls what lets go of Python's objects, with the GIL, on any thread. The end of the program takes them along.
template <typename Call>
void let_go(Call&& call) noexcept {
  try {
    const GilOnWorker held;
    call();
  } catch (const Error&) {
  }
}

/// Raises what a signal's handler raised (KeyboardInterrupt) meanwhile. Needs the GIL.
inline void check_signals() {
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

/// Does the work on a thread of its own, without the GIL, and lets Python's signal handlers run meanwhile. When one
/// raises, `cancel` is fired and the exception goes on once the work has ended. For work that reports no progress and
/// may wait long: a thread costs some 30 µs.
template <typename Work>
auto interruptibly(const CancelToken& cancel, Work&& work) {
  auto done = std::async(std::launch::async, std::forward<Work>(work));
  for (;;) {
    {
      const GilReleased released;
      if (done.wait_for(std::chrono::milliseconds(20)) == std::future_status::ready) break;
    }
    if (PyErr_CheckSignals() == 0) continue;
    cancel.cancel();
    {
      const GilReleased released;
      done.wait();
    }
    throw nb::python_error();
  }
  const GilReleased released;
  return done.get();
}

/// A job's callback: looks for signals, and calls `callable(progress)` where it isn't None. An exception of either
/// stops the job and reaches the caller. The job must run with the GIL released, on the thread that called from Python,
/// which keeps `callable` alive.
inline ProgressCallback relay(nb::handle callable) {
  return [callable](const Progress& progress) {
    const GilAgain held;
    check_signals();
    if (!callable.is_none()) callable(progress);
  };
}

}  // namespace headrace::python
