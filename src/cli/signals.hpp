// Ctrl-C and its relatives, turned into a cancelled job.
#pragma once

#include <csignal>
#include <headrace/cancel.hpp>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

namespace headrace::cli {

/// The exit status of an interrupted command.
inline constexpr int kInterrupted = 130;

/// Catches SIGINT, SIGTERM and SIGHUP for the life of the object, on a thread of its own. To be made before any other
/// thread, which then inherits the blocked signals. A signal that is ignored at the start (`nohup`, a background job
/// of a script) stays ignored.
///
/// While a Job lives, the first signal cancels it and a second one ends the process at once; without a job there is
/// nothing to clean up, and the first one does. The process ends with status 130.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  class Job {
   public:
    explicit Job(Signals& signals);
    ~Job();
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    const CancelToken& token() const noexcept { return token_; }

   private:
    Signals& signals_;
    CancelToken token_;
  };

 private:
  void watch();

  sigset_t caught_{};
  std::mutex mutex_;  // guards the two below
  std::optional<CancelToken> job_;
  bool stopping_ = false;
  std::thread watcher_;  // not joinable when every signal is ignored
};

}  // namespace headrace::cli
