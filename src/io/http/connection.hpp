// Connection: one libcurl handle with at most one kept-alive connection, and what is asked over it.
#pragma once

#include "io/http/answer.hpp"
#include "io/http/retry.hpp"

#include <curl/curl.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::io::http {

struct Request {
  std::string url;                        // without credentials
  std::vector<std::string> headers = {};  // "Name: value"
  std::string user = {}, password = {};
  std::optional<Range> range = {};
  std::string if_range = {};
};

/// Gets what a transfer brings, on the thread that drives it.
class Receiver {
 public:
  enum class Body { take, refuse, hand_over };

  virtual ~Receiver() = default;
  /// The answer is complete but for its bytes. hand_over: take() will be called, but perform() ends here.
  virtual Body begin(const Answer& answer) = 0;
  enum class Taken { all, later, refused };
  /// The next bytes. later: none of them were taken; they come again after Connection::resume().
  virtual Taken take(std::span<const std::byte> bytes) = 0;
};

/// How a transfer ended.
enum class End {
  complete,
  refused,      // by the receiver
  handed_over,  // it hasn't
  lost,         // and may go better next time
  failed,       // and will fail again
};

struct Outcome {
  End end = End::complete;
  std::string problem = {};  // of a transfer that was lost or failed, for people
};

/// One thread at a time drives it; wake() may be called from any.
class Connection {
 public:
  explicit Connection(const Patience& patience);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Asks, and drives the transfer until it ends or is handed over. The receiver must live as long as the transfer.
  /// `stop`: the transfer is dropped with Error(cancelled) once it is set and wake() called.
  /// What a receiver throws comes out here.
  Outcome perform(const Request& request, Receiver& receiver, const std::atomic<bool>& stop);

  /// Drives a transfer that was handed over as far as it goes without waiting; its outcome once it has ended. The bytes
  /// may come on another thread than perform()'s, not at the same time. The caller has a QuietPipe.
  std::optional<Outcome> step(const std::atomic<bool>& stop);
  /// Waits until step() can do something, or wake() is called.
  void wait() noexcept;
  /// The time until now is not the server's fault; bytes that the receiver wanted later may come.
  void resume() noexcept;
  /// Ends whatever is under way.
  void drop() noexcept;

  const Answer& answer() const noexcept { return answer_; }
  /// Ends the wait of whoever drives it, so that it looks at `stop`.
  void wake() noexcept;

  /// Bytes that a connection holds, about.
  static constexpr std::size_t kMemory = std::size_t{512} << 10;

 private:
  struct FreeMulti {
    void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
  };
  struct FreeEasy {
    void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
  };
  struct FreeList {
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
  };

  void set_up(const Request& request);
  void add_header(const std::string& line);
  std::optional<Outcome> ended();
  Outcome outcome_of(CURLcode code) const;
  std::chrono::milliseconds patience_left() const noexcept;
  bool take_line(std::string_view line);
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) noexcept;

  const Patience patience_;
  std::unique_ptr<CURLM, FreeMulti> multi_;
  std::unique_ptr<CURL, FreeEasy> easy_;
  std::unique_ptr<curl_slist, FreeList> headers_;
  std::array<char, CURL_ERROR_SIZE> text_{};
  Answer answer_;
  Receiver* receiver_ = nullptr;
  bool active_ = false, refused_ = false, handed_over_ = false, paused_ = false;
  CURLcode resumed_ = CURLE_OK;
  std::exception_ptr fault_;  // what the receiver has thrown
  std::chrono::steady_clock::time_point last_byte_;
};

}  // namespace headrace::io::http
