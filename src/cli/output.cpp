#include "cli/output.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <headrace/error.hpp>

namespace headrace::cli {

void Output::repeat(char c, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) buffer_.push_back(c);
  if (buffer_.size() >= kChunk) flush();
}

void Output::flush() {
  std::size_t done = 0;
  while (done < buffer_.size() && !closed_) {
    const ssize_t written = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno == EPIPE) {
      closed_ = true;
    } else if (errno == EAGAIN) {  // a pipe that someone made non-blocking
      pollfd ready{descriptor_, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      const int reason = errno;
      buffer_.clear();  // a later flush must not try the same bytes again
      throw Error(ErrorCode::io, fmt::format("can't write {}: {}", name_, std::strerror(reason)));
    }
  }
  buffer_.clear();
}

}  // namespace headrace::cli
