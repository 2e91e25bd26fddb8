#include "io/http/pool.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace headrace::io::http {

Pool::Pool(unsigned limit, const Patience& patience) : limit_(std::max(limit, 1U)), patience_(patience) {
  idle_.reserve(limit_);  // giving back never fails
  lent_.reserve(limit_);
}

std::shared_ptr<Pool> Pool::of(const std::string& origin, unsigned limit) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Pool>> pools;
  const std::lock_guard lock(mutex);
  std::erase_if(pools, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<Pool>& known = pools[fmt::format("{} {}", limit, origin)];
  std::shared_ptr<Pool> pool = known.lock();
  if (!pool) known = pool = std::make_shared<Pool>(limit, Patience());
  return pool;
}

Pool::Lease::~Lease() {
  if (connection_) pool_.give_back(std::move(connection_));
}

std::unique_ptr<Connection> Pool::Lease::keep() noexcept {
  pool_.forget(connection_.get());
  return std::move(connection_);
}

Pool::Lease Pool::borrow(const std::atomic<bool>& stop) {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [&] { return stop || !idle_.empty() || lent_.size() < limit_; });
  if (stop) throw Error(ErrorCode::cancelled, "cancelled");
  std::unique_ptr<Connection> connection;
  if (idle_.empty()) {
    connection = std::make_unique<Connection>(patience_);
  } else {
    connection = std::move(idle_.back());
    idle_.pop_back();
  }
  lent_.push_back(connection.get());
  return {*this, std::move(connection)};
}

void Pool::give_back(std::unique_ptr<Connection> connection) noexcept {
  connection->drop();
  const std::lock_guard lock(mutex_);
  std::erase(lent_, connection.get());
  idle_.push_back(std::move(connection));
  freed_.notify_one();
}

void Pool::forget(const Connection* connection) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase(lent_, connection);
  freed_.notify_one();
}

void Pool::pause(std::chrono::milliseconds time, const std::atomic<bool>& stop) {
  std::unique_lock lock(mutex_);
  if (stopped_.wait_for(lock, time, [&] { return stop.load(); })) throw Error(ErrorCode::cancelled, "cancelled");
}

void Pool::wake() noexcept {
  const std::lock_guard lock(mutex_);
  for (Connection* connection : lent_) connection->wake();
  freed_.notify_all();
  stopped_.notify_all();
}

}  // namespace headrace::io::http
