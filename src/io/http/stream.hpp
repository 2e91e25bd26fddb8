// HttpStream: a file from a server without ranges, from its first byte to its last.
#pragma once

#include "io/forward_source.hpp"
#include "io/http/connection.hpp"
#include "io/http/inlet.hpp"
#include "io/http/remote.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include <headrace/error.hpp>

namespace headrace::io::http {

/// Goes on with the answer that has begun; what isn't read yet waits in a buffer of fixed size and then at the server.
class HttpStream final : public ForwardSource {
 public:
  HttpStream(std::shared_ptr<Remote> remote, std::unique_ptr<Connection> connection, std::unique_ptr<Inlet> inlet,
             std::optional<Outcome> outcome);

  void interrupt() const noexcept override;
  std::size_t memory() const noexcept override;

 protected:
  /// Throws Error: io where the connection breaks, for there is no way to go on; cancelled.
  std::size_t receive(std::span<std::byte> out) const override;

 private:
  void settle(const Outcome& outcome) const;

  const std::shared_ptr<Remote> remote_;
  const std::unique_ptr<Inlet> inlet_;
  const std::unique_ptr<Connection> connection_;  // ends before the inlet it writes to
  mutable std::uint64_t received_ = 0;
  mutable bool ended_ = false;
  mutable std::optional<Error> broken_;
  std::shared_ptr<void> on_cancel_;  // dropped first: it uses the rest
};

}  // namespace headrace::io::http
