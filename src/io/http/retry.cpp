#include "io/http/retry.hpp"

#include <algorithm>
#include <random>

namespace headrace::io::http {

bool is_passing(int status) noexcept { return status == 408 || status == 429 || (status >= 500 && status < 600); }

std::optional<std::chrono::milliseconds> Retry::after(std::uint64_t bytes, std::optional<std::chrono::seconds> asked) {
  using std::chrono::milliseconds;
  if (bytes >= kProgress) attempts_ = 0;
  if (++attempts_ >= patience_.attempts) return std::nullopt;
  if (asked) return std::min<milliseconds>(*asked, patience_.longest_pause);
  const milliseconds full =
      std::min(patience_.first_pause * (1 << std::min(attempts_ - 1, 16)), patience_.longest_pause);
  // Many readers that lost their connections together shall not come back together.
  thread_local std::minstd_rand random(std::random_device{}());
  return milliseconds(std::uniform_int_distribution<milliseconds::rep>(full.count() / 2, full.count())(random));
}

}  // namespace headrace::io::http
