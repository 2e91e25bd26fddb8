// Inlet: takes a file's first answer, whatever kind it is, and its bytes in order.
#pragma once

#include "io/http/answer.hpp"
#include "io/http/connection.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace headrace::io::http {

/// A buffer of fixed size between a connection and who reads from it. Not thread-safe.
class Inlet final : public Receiver {
 public:
  static constexpr std::size_t kBuffer = std::size_t{256} << 10;

  explicit Inlet(Range asked) : asked_(asked) {}

  /// A range is taken; a whole file is handed over. Throws Error: io, unsupported.
  Body begin(const Answer& answer) override;
  Taken take(std::span<const std::byte> bytes) override;

  /// The file as the server describes it; its size isn't known where there was none.
  const Version& version() const noexcept { return version_; }
  /// True when the answer was that the file has no bytes.
  bool file_is_empty() const noexcept { return file_is_empty_; }
  /// True when all came that the answer promised.
  bool is_whole() const noexcept { return used_ - next_ == promised_; }

  bool empty() const noexcept { return next_ == used_; }
  std::size_t bytes_held() const noexcept { return used_ - next_; }
  /// Moves some of the bytes to `out`; how many.
  std::size_t read(std::span<std::byte> out) noexcept;
  /// All of them.
  std::vector<std::byte> bytes() const;
  std::size_t memory() const noexcept { return capacity_; }

 private:
  Body begin_range(const Answer& answer);
  Body begin_whole(const Answer& answer);
  void make_room(std::size_t bytes);

  const Range asked_;
  Version version_;
  std::uint64_t promised_ = 0;
  bool file_is_empty_ = false;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t capacity_ = 0, next_ = 0, used_ = 0;
};

/// Throws Error(unsupported) for an answer whose bytes aren't the file's own.
void refuse_compressed(const Answer& answer);

}  // namespace headrace::io::http
