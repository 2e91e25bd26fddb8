// Pool: the connections to one server, shared by all who read from it.
#pragma once

#include "io/http/connection.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace headrace::io::http {

/// Makes connections as they are needed, up to a limit, and keeps them for the next reader: the many files of a sharded
/// model share them. Thread-safe. Must outlive its leases.
class Pool {
 public:
  Pool(unsigned limit, const Patience& patience);

  /// The pool for one origin (see Url) and limit: the one that other sources use already, or a new one.
  static std::shared_ptr<Pool> of(const std::string& origin, unsigned limit);

  /// The right to use a connection; it goes back when the lease ends.
  class Lease {
   public:
    Lease(Pool& pool, std::unique_ptr<Connection> connection) : pool_(pool), connection_(std::move(connection)) {}
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    Connection& connection() const noexcept { return *connection_; }
    /// Takes the connection out of the pool for good; another may be made in its place.
    std::unique_ptr<Connection> keep() noexcept;

   private:
    Pool& pool_;
    std::unique_ptr<Connection> connection_;
  };

  /// Waits for a free connection. Throws Error(cancelled) once `stop` is set and wake() called.
  Lease borrow(const std::atomic<bool>& stop);
  /// Does nothing for some time. Throws Error(cancelled) likewise.
  void pause(std::chrono::milliseconds time, const std::atomic<bool>& stop);
  /// Has everybody who waits look at his `stop`.
  void wake() noexcept;

  const Patience& patience() const noexcept { return patience_; }

  /// Bytes that all connections may come to hold.
  std::size_t memory() const noexcept { return limit_ * Connection::kMemory; }
  /// True for the first of those who share it, until unclaim(): he counts its memory.
  bool claim() noexcept { return !claimed_.exchange(true); }
  void unclaim() noexcept { claimed_ = false; }

 private:
  void give_back(std::unique_ptr<Connection> connection) noexcept;
  void forget(const Connection* connection) noexcept;

  const unsigned limit_;
  const Patience patience_;
  std::mutex mutex_;
  std::condition_variable freed_, stopped_;
  std::vector<std::unique_ptr<Connection>> idle_;  // the one used last is the last
  std::vector<Connection*> lent_;
  std::atomic<bool> claimed_{false};
};

}  // namespace headrace::io::http
