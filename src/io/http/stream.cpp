#include "io/http/stream.hpp"

#include "io/http/quiet_pipe.hpp"

#include <utility>

namespace headrace::io::http {

HttpStream::HttpStream(std::shared_ptr<Remote> remote, std::unique_ptr<Connection> connection,
                       std::unique_ptr<Inlet> inlet, std::optional<Outcome> outcome)
    : ForwardSource(remote->name(), inlet->version().size),
      remote_(std::move(remote)),
      inlet_(std::move(inlet)),
      connection_(std::move(connection)) {
  if (outcome) settle(*outcome);
  on_cancel_ = remote_->cancel().on_cancel([this] { interrupt(); });
}

void HttpStream::interrupt() const noexcept {
  remote_->interrupt();
  connection_->wake();
}

std::size_t HttpStream::memory() const noexcept {
  return ForwardSource::memory() + inlet_->memory() + Connection::kMemory;
}

std::size_t HttpStream::receive(std::span<std::byte> out) const {
  std::size_t got = inlet_->read(out);
  if (got == 0 && !out.empty() && !ended_) {
    if (broken_) throw Error(*broken_);
    const QuietPipe quiet;
    connection_->resume();
    try {
      while (inlet_->empty() && !ended_ && !broken_) {
        if (const auto outcome = connection_->step(remote_->stopped())) {
          settle(*outcome);
        } else if (inlet_->empty()) {
          connection_->wait();
        }
      }
    } catch (const Error& error) {
      broken_ = error;
      rethrow(error, name());
    }
    got = inlet_->read(out);
    if (got == 0 && broken_) throw Error(*broken_);
  }
  received_ += got;
  return got;
}

void HttpStream::settle(const Outcome& outcome) const {
  if (outcome.end == End::complete) {
    ended_ = true;
    return;
  }
  const std::string problem = outcome.problem.empty() ? "" : ": " + outcome.problem;
  broken_ =
      Error(ErrorCode::io, "the connection is lost" + problem,
            {.file = name(),
             .offset = received_ + inlet_->bytes_held(),
             .hint = "the server has no ranges, so there is no going on from here; try again, or download it first"});
}

}  // namespace headrace::io::http
