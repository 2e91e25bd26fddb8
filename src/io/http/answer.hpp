// Answer: what a server says before the bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace headrace::io::http {

/// A run of bytes, the last one included, as HTTP counts.
struct Range {
  std::uint64_t first = 0, last = 0;

  std::uint64_t bytes() const noexcept { return last - first + 1; }
  bool operator==(const Range&) const = default;
};

/// "bytes 0-99/1000", "bytes 0-99/*" or, with a status of 416, "bytes */1000".
struct ContentRange {
  std::optional<Range> range;
  std::optional<std::uint64_t> total;
};

/// Nothing for what breaks the rules, numbers that contradict each other included.
std::optional<ContentRange> parse_content_range(std::string_view value);

/// Collects an answer's headers. Not thread-safe.
class Answer {
 public:
  /// The next line, with or without its end. False when the server says more than a header can need.
  bool add(std::string_view line);
  /// True once the empty line after a final status has come; later lines (trailers) change nothing.
  bool complete() const noexcept { return complete_; }

  int status = 0;
  std::optional<std::uint64_t> content_length;
  std::string content_range;  // as it came; two that differ are joined, and so make no sense
  std::string etag, last_modified, location, content_encoding;
  std::optional<std::chrono::seconds> retry_after;

 private:
  void add_field(std::string_view name, std::string_view value);

  bool complete_ = false;
  std::size_t bytes_ = 0;
};

/// What tells one version of a file from another.
struct Version {
  std::uint64_t size = 0;
  std::string etag, last_modified;

  /// For If-Range: a strong ETag as it is; empty when there is none that can be sent.
  std::string strong() const;
  /// What contradicts this version in a later answer; empty when nothing does.
  std::string changed_in(const Answer& answer) const;
};

}  // namespace headrace::io::http
