// A job that reports progress: run without the GIL, ended by Ctrl-C, by its callback's exceptions and by a CancelToken.
#pragma once

#include "interrupts.hpp"

#include <headrace/cancel.hpp>
#include <headrace/progress.hpp>

#include <nanobind/nanobind.h>

#include <exception>
#include <memory>

namespace headrace::python {

/// A token of a call's own, which the caller's fires too: what ends one call must not end others that share a token.
class OwnToken {
 public:
  /// `given`: null when the caller has none.
  explicit OwnToken(const CancelToken* given) {
    if (given != nullptr) link_ = given->on_cancel([token = token_] { token.cancel(); });
  }
  const CancelToken& get() const noexcept { return token_; }

 private:
  CancelToken token_;
  std::shared_ptr<void> link_;
};

/// Returns `work(callback, token)`, called on this thread with the GIL released. `progress`: a callable or None. An
/// exception of it, or of a signal's handler, fires the token, so that no worker waits for a source any longer, and
/// reaches the caller.
template <typename Work>
auto run_job(nb::handle progress, const CancelToken* cancel, Work&& work) {
  const OwnToken token(cancel);
  std::exception_ptr raised;
  const ProgressCallback callback = [&, relayed = relay(progress)](const Progress& now) {
    try {
      relayed(now);
    } catch (...) {
      raised = std::current_exception();
      token.get().cancel();
      throw;
    }
  };
  const GilReleased released;
  try {
    return work(callback, token.get());
  } catch (...) {
    if (raised) std::rethrow_exception(raised);
    throw;
  }
}

}  // namespace headrace::python
