#include "io/pipe.hpp"

#include "io/system_error.hpp"

#include <headrace/error.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace headrace::io {

Pipe::Pipe(int fd, std::string name, const CancelToken& cancel)
    : ForwardSource(std::move(name), kUnknownSize),
      fd_(fd),
      id_(file_id(fd)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_) throw system_error(errno, "wait for", this->name());
  on_cancel_ = cancel.on_cancel([this] { interrupt(); });
}

void Pipe::interrupt() const noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

std::size_t Pipe::receive(std::span<std::byte> out) const {
  for (;;) {
    std::array<pollfd, 2> wait{{{fd_, POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    if (::poll(wait.data(), wait.size(), -1) < 0) {
      if (errno == EINTR) continue;
      throw system_error(errno, "wait for", name());
    }
    if (wait[1].revents != 0) throw Error(ErrorCode::cancelled, "cancelled", {.file = name()});
    const ssize_t got = ::read(fd_, out.data(), std::min(out.size(), kMostPerCall));
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR && errno != EAGAIN) throw system_error(errno, "read", name());
  }
}

}  // namespace headrace::io
