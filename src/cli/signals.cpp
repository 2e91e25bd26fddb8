#include "cli/signals.hpp"

#include <pthread.h>
#include <unistd.h>

#include <array>

#include "cli/terminal.hpp"

namespace headrace::cli {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};

// Any of the caught ones will do to wake the watcher.
std::optional<int> first_of(const sigset_t& set) {
  for (const int number : kSignals) {
    if (sigismember(&set, number) == 1) return number;
  }
  return std::nullopt;
}

}  // namespace

Signals::Signals() {
  sigemptyset(&caught_);
  for (const int number : kSignals) {
    struct sigaction action {};
    if (sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) sigaddset(&caught_, number);
  }
  if (!first_of(caught_)) return;
  pthread_sigmask(SIG_BLOCK, &caught_, nullptr);
  watcher_ = std::thread([this] { watch(); });
}

Signals::~Signals() {
  if (!watcher_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  pthread_kill(watcher_.native_handle(), *first_of(caught_));
  watcher_.join();
}

void Signals::watch() {
  for (;;) {
    int number = 0;
    if (sigwait(&caught_, &number) != 0) continue;
    std::optional<CancelToken> job;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      job = job_;
    }
    if (!job || job->cancelled()) {
      write_stderr("\nheadrace: interrupted\n");
      ::_exit(kInterrupted);
    }
    job->cancel();
  }
}

Signals::Job::Job(Signals& signals) : signals_(signals) {
  const std::lock_guard lock(signals_.mutex_);
  signals_.job_ = token_;
}

Signals::Job::~Job() {
  const std::lock_guard lock(signals_.mutex_);
  signals_.job_.reset();
}

}  // namespace headrace::cli
