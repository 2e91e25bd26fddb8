// Retry: when to ask again, and when to give up.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace headrace::io::http {

/// How long things may take. Tests have less patience than people.
struct Patience {
  int attempts = 5;                                 ///< in a row that brought nothing
  std::chrono::milliseconds first_pause{500};       ///< before the second attempt; doubles from then on
  std::chrono::milliseconds longest_pause{60'000};  ///< also where the server asks for more
  std::chrono::milliseconds connect{20'000};        ///< until a connection stands
  std::chrono::milliseconds stall{30'000};          ///< without a single byte: the connection counts as lost
};

/// True for an answer that may be another one soon.
bool is_passing(int status) noexcept;

/// Counts the attempts of one read. Not thread-safe.
class Retry {
 public:
  explicit Retry(const Patience& patience) noexcept : patience_(patience) {}

  /// After an attempt that failed but brought `bytes` bytes: how long to wait before the next; nothing: give up.
  /// A handful of bytes is no progress, so that a server can't keep us busy with one byte at a time.
  std::optional<std::chrono::milliseconds> after(std::uint64_t bytes,
                                                 std::optional<std::chrono::seconds> asked = std::nullopt);

  /// The last attempt was as good as it could be.
  void start_over() noexcept { attempts_ = 0; }

  int attempts() const noexcept { return attempts_; }

  static constexpr std::uint64_t kProgress = 16 << 10;

 private:
  const Patience patience_;
  int attempts_ = 0;  // since the last progress
};

}  // namespace headrace::io::http
