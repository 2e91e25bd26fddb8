// QuietPipe: writing to a connection that the other side has closed raises no signal.
#pragma once

#include <csignal>

namespace headrace::io::http {

/// For its life, SIGPIPE is held back on this thread and then forgotten; the host program's handlers are left alone.
class QuietPipe {
 public:
  QuietPipe() noexcept {
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~QuietPipe() {
    const timespec now{};
    while (!pending_ && sigtimedwait(&pipe_, nullptr, &now) == SIGPIPE) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  QuietPipe(const QuietPipe&) = delete;
  QuietPipe& operator=(const QuietPipe&) = delete;

 private:
  sigset_t pipe_, before_;
  bool pending_;
};

}  // namespace headrace::io::http
