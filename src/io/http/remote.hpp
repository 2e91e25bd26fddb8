// Remote: one file on a server, wherever redirects say that it is.
#pragma once

#include "io/http/answer.hpp"
#include "io/http/connection.hpp"
#include "io/http/credentials.hpp"
#include "io/http/pool.hpp"
#include "io/http/retry.hpp"
#include "io/http/url.hpp"
#include "io/location.hpp"

#include <headrace/cancel.hpp>
#include <headrace/error.hpp>
#include <headrace/source.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace headrace::io::http {

/// How one attempt went: the transfer, and the last answer of those that redirects led to.
struct Reply {
  Outcome outcome;
  Answer answer;
  std::string where;  // the host that answered, where it isn't the one asked for
};

/// Thread-safe.
class Remote {
 public:
  /// Asks for nothing yet. `options.cancel` interrupts it. Throws Error(invalid_argument) for the URL, a header or a
  /// token.
  /// `pool`: to be used instead of the one that all files of the server share.
  Remote(const Location& location, const SourceOptions& options, std::shared_ptr<Pool> pool = nullptr);

  const std::string& name() const noexcept { return name_; }
  Pool& pool() const noexcept { return *pool_; }
  bool for_hub() const noexcept { return credentials_.for_hub; }

  /// One attempt at a range; follows redirects, and remembers where they led. What a redirect led to is asked for first
  /// the next time; where that is refused (signed addresses expire), the way is looked up once more.
  /// `if_range` is only sent where it isn't empty. Throws Error: cancelled, and io for redirects that lead nowhere.
  Reply get(Connection& connection, Range range, const std::string& if_range, Receiver& receiver);

  /// After an attempt that didn't do: waits before the next one, or throws what came of it, an Error(io) about
  /// `offset`. `bytes`: what the attempt brought.
  void try_again(Retry& retry, const Reply& reply, std::uint64_t bytes, std::optional<std::uint64_t> offset);

  /// The error for an answer that can't be used.
  Error error(const Reply& reply, std::optional<std::uint64_t> offset, int attempts) const;

  /// Ends all waits with Error(cancelled), now and later.
  void interrupt() noexcept;
  const std::atomic<bool>& stopped() const noexcept { return stop_; }
  /// What interrupts it; for those who wait elsewhere than in the pool.
  const CancelToken& cancel() const noexcept { return cancel_; }

 private:
  struct Target {
    Url url;
    bool trusted;  // gets the credentials
  };
  using TargetPtr = std::shared_ptr<const Target>;

  TargetPtr known() const;
  void remember(TargetPtr target);
  Request request_for(const Target& target, Range range, const std::string& if_range) const;
  TargetPtr follow(const Target& target, const Answer& answer) const;
  std::string hint_for(int status) const;

  const std::string name_;
  const TargetPtr start_;
  const Credentials credentials_;
  const std::shared_ptr<Pool> pool_;
  mutable std::mutex mutex_;
  TargetPtr known_;  // where the file was found last
  std::atomic<bool> stop_{false};
  const CancelToken cancel_;
  const std::shared_ptr<void> on_cancel_;  // dropped first: it uses the rest
};

/// Throws `error` again; one that has been told no file gets this one.
[[noreturn]] void rethrow(const Error& error, const std::string& file);

}  // namespace headrace::io::http
