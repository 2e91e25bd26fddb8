// Cancellation: one side asks, every wait on the other side ends.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace headrace {

/// A shared flag that a caller sets to stop a job. Copies share the same flag.
/// Thread-safety: every member may be called from any thread at any time, but not from a signal handler
/// (`cancel` runs listeners that take locks); a program turns a signal into a call on a thread of its own.
class CancelToken {
 public:
  CancelToken();

  /// Asks every job holding this token to stop: it throws Error(cancelled) soon after and leaves no output behind.
  void cancel() const;
  bool cancelled() const noexcept;
  /// Throws Error(cancelled) once `cancel` was called.
  void throw_if_cancelled() const;

  /// Runs `wake` when the token is cancelled (at once, if it already is) for as long as the returned handle lives.
  /// `wake` must not throw and must not take a lock that is held while the handle is made or dropped.
  [[nodiscard]] std::shared_ptr<void> on_cancel(std::function<void()> wake) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace headrace
