// A web server on loopback for one file, which does as each test says.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace headrace::test {

/// A thread for each connection. Thread-safe but for behave(), which must not be called during a request.
class WebServer {
 public:
  struct Closed {};

  /// One request, "bytes=first-last" of the file, and the ways to answer it.
  struct Exchange {
    WebServer& server;
    int socket;
    std::uint64_t first = 0, last = 0;

    void send(std::string_view text) { send_bytes(std::as_bytes(std::span(text))); }
    void head(int status) {
      send("HTTP/1.1 " + std::to_string(status) +
           " -\r\nETag: \"1\"\r\nContent-Length: " + std::to_string(last - first + 1) + "\r\nContent-Range: bytes " +
           std::to_string(first) + "-" + std::to_string(last) + "/" + std::to_string(server.file_.size()) + "\r\n\r\n");
    }
    void whole_head() {
      send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(server.file_.size()) + "\r\n\r\n");
    }
    void body(std::size_t most) {
      send_bytes(std::span(server.file_).subspan(first, std::min<std::size_t>(most, last - first + 1)));
    }
    void serve() {
      head(206);
      body(~std::size_t{0});
    }
    void serve_whole() {
      whole_head();
      send_bytes(server.file_);
    }
    void refuse(const std::string& status, const std::string& headers) {
      send("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n" + headers + "\r\n");
    }
    /// Until the client has had enough.
    [[noreturn]] void stall() {
      char waste = 0;
      while (::recv(socket, &waste, 1, 0) > 0) {
      }
      throw Closed();
    }

   private:
    void send_bytes(std::span<const std::byte> bytes) {
      while (!bytes.empty()) {
        const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) throw Closed();
        bytes = bytes.subspan(static_cast<std::size_t>(sent));
      }
    }
  };

  explicit WebServer(std::vector<std::byte> file)
      : file_(std::move(file)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, size) != 0 || ::listen(listener_, 64) != 0 || ::getsockname(listener_, any, &size) != 0)
      throw std::runtime_error("no web server");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { accept(); });
  }
  ~WebServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    {
      const std::lock_guard lock(mutex_);
      for (const int open : open_) ::shutdown(open, SHUT_RDWR);
    }
    for (std::thread& each : threads_) each.join();
  }
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/file"; }
  void behave(std::function<void(Exchange&)> how) {
    const std::lock_guard lock(mutex_);
    how_ = std::move(how);
  }
  int requests() const { return requests_; }
  /// That were made in all, and at once.
  int connections() const { return connections_; }
  int most_connections() const { return most_; }

 private:
  void accept() {
    for (int socket = 0; (socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      const int at_once = 1;  // a header doesn't wait for its body
      ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
      const std::lock_guard lock(mutex_);
      ++connections_;
      open_.insert(socket);
      most_ = std::max<int>(most_, static_cast<int>(open_.size()));
      threads_.emplace_back([this, socket] { serve(socket); });
    }
  }

  void serve(int socket) {
    try {
      for (;;) {
        const std::string request = read_request(socket);
        ++requests_;
        Exchange exchange{*this, socket};
        const std::size_t range = request.find("bytes=");
        if (range != request.npos) {
          std::size_t digits = 0;
          exchange.first = std::stoull(request.substr(range + 6), &digits);
          exchange.last = std::stoull(request.substr(range + 6 + digits + 1));
        }
        exchange.last = std::min<std::uint64_t>(exchange.last, file_.size() - 1);
        std::function<void(Exchange&)> how;
        {
          const std::lock_guard lock(mutex_);
          how = how_;
        }
        how(exchange);
      }
    } catch (const Closed&) {
    }
    const std::lock_guard lock(mutex_);
    open_.erase(socket);
    ::close(socket);
  }

  static std::string read_request(int socket) {
    std::string request;
    char c = 0;
    while (!request.ends_with("\r\n\r\n")) {
      if (::recv(socket, &c, 1, 0) != 1) throw Closed();
      request += c;
    }
    return request;
  }

  const std::vector<std::byte> file_;
  const int listener_;
  int port_ = 0;
  std::function<void(Exchange&)> how_ = [](Exchange& exchange) { exchange.serve(); };
  std::mutex mutex_;
  std::set<int> open_;
  std::list<std::thread> threads_;
  std::atomic<int> requests_{0}, connections_{0}, most_{0};
  std::thread thread_;
};

}  // namespace headrace::test
