#include "io/http/http_source.hpp"
#include "io/http/inlet.hpp"
#include "io/http/open_remote.hpp"
#include "io/http/random_source.hpp"
#include "io/http/remote.hpp"
#include "io/http/small_file.hpp"
#include "io/http/stream.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace headrace::io {
namespace {

// What the first request asks for: most headers fit, and what is left over belongs to the first tensors.
constexpr std::uint64_t kHead = std::uint64_t{64} << 10;

}  // namespace

namespace http {

namespace {

using Opened = SmallFile::Opened;

Opened ask(const std::shared_ptr<Remote>& remote, unsigned connections) try {
  const Range head{0, kHead - 1};
  Pool::Lease lease = remote->pool().borrow(remote->stopped());
  Retry retry(remote->pool().patience());
  for (;;) {
    auto inlet = std::make_unique<Inlet>(head);
    Reply reply = remote->get(lease.connection(), head, {}, *inlet);
    const bool answered = reply.outcome.end == End::complete || reply.outcome.end == End::refused;
    if (reply.outcome.end == End::handed_over) {
      Version version = inlet->version();
      return {std::make_shared<HttpStream>(remote, lease.keep(), std::move(inlet), std::nullopt), std::move(version)};
    }
    const int status = reply.answer.status;
    if (answered && status == 200 && !inlet->file_is_empty()) {  // at its end already
      Version version = inlet->version();
      return {std::make_shared<HttpStream>(remote, lease.keep(), std::move(inlet), std::move(reply.outcome)),
              std::move(version)};
    }
    if (answered && (inlet->file_is_empty() || (status == 206 && inlet->is_whole()))) {
      Version version = inlet->version();
      if (inlet->file_is_empty()) version.size = 0;
      return {std::make_shared<HttpSource>(remote, version, inlet->bytes(), connections), version};
    }
    remote->try_again(retry, reply, 0, std::nullopt);  // nothing of it is kept
  }
} catch (const Error& error) {
  rethrow(error, remote->name());
}

}  // namespace

std::shared_ptr<const ByteSource> open_remote(const std::shared_ptr<Remote>& remote, unsigned connections) {
  Opened opened = ask(remote, connections);
  if (opened.stream->access() != Access::forward || opened.version.size > SmallFile::kMost) return opened.stream;
  return std::make_shared<SmallFile>(
      std::move(opened), [remote, connections] { return ask(remote, connections); },
      remote->pool().patience().attempts);
}

}  // namespace http

std::shared_ptr<const ByteSource> open_url(const Location& location, const SourceOptions& options) {
  return http::open_remote(std::make_shared<http::Remote>(location, options), std::max(options.connections, 1U));
}

}  // namespace headrace::io
