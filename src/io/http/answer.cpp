#include "io/http/answer.hpp"

#include "io/http/url.hpp"

#include <curl/curl.h>
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

namespace headrace::io::http {
namespace {

constexpr std::size_t kMostBytes = std::size_t{256} << 10;

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// Digits alone, all of `text`.
std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Seconds, or a date.
std::optional<std::chrono::seconds> parse_retry_after(std::string_view value) {
  constexpr std::uint64_t kLongest = 86400;
  if (const auto seconds = number(value)) return std::chrono::seconds(std::min(*seconds, kLongest));
  const std::time_t date = curl_getdate(std::string(value).c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return std::chrono::seconds(std::max<std::time_t>(date - std::time(nullptr), 0));
}

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view value) {
  value = trimmed(value);
  constexpr std::string_view kUnit = "bytes";
  if (value.size() <= kUnit.size() || !same_name(value.substr(0, kUnit.size()), kUnit)) return std::nullopt;
  if (value[kUnit.size()] != ' ' && value[kUnit.size()] != '\t') return std::nullopt;
  value = trimmed(value.substr(kUnit.size()));
  const std::size_t slash = value.find('/');
  if (slash == value.npos) return std::nullopt;
  const std::string_view range = trimmed(value.substr(0, slash)), total = trimmed(value.substr(slash + 1));

  ContentRange result;
  if (total != "*") {
    result.total = number(total);
    if (!result.total) return std::nullopt;
  }
  if (range == "*") return result.total ? std::optional(result) : std::nullopt;
  const std::size_t dash = range.find('-');
  if (dash == range.npos) return std::nullopt;
  const auto first = number(range.substr(0, dash)), last = number(range.substr(dash + 1));
  if (!first || !last || *first > *last || (result.total && *last >= *result.total)) return std::nullopt;
  result.range = Range{*first, *last};
  return result;
}

bool Answer::add(std::string_view line) {
  if (complete_) return true;
  bytes_ += line.size();
  if (bytes_ > kMostBytes) return false;
  if (line.starts_with("HTTP/")) {
    const std::size_t bytes = bytes_;
    *this = Answer();
    bytes_ = bytes;
    const std::size_t at = line.find(' ');
    if (at != line.npos) status = static_cast<int>(number(line.substr(at + 1, 3)).value_or(0));
    return true;
  }
  line = trimmed(line);
  if (line.empty()) {
    complete_ = status >= 200;  // others are only a word in between
    return true;
  }
  const std::size_t colon = line.find(':');
  if (colon != line.npos) add_field(line.substr(0, colon), trimmed(line.substr(colon + 1)));
  return true;
}

void Answer::add_field(std::string_view name, std::string_view value) {
  if (same_name(name, "content-length")) {
    content_length = number(value);
  } else if (same_name(name, "content-range")) {
    if (content_range.empty()) {
      content_range = value;
    } else if (content_range != value) {
      content_range.append(" and ").append(value);
    }
  } else if (same_name(name, "retry-after")) {
    retry_after = parse_retry_after(value);
  } else if (same_name(name, "etag")) {
    etag = value;
  } else if (same_name(name, "last-modified")) {
    last_modified = value;
  } else if (same_name(name, "location")) {
    location = value;
  } else if (same_name(name, "content-encoding") && !same_name(value, "identity")) {
    content_encoding = value;
  }
}

std::string Version::strong() const {
  const bool sendable = std::ranges::all_of(etag, [](unsigned char c) { return c > 0x20 && c != 0x7f; });
  return sendable && etag.starts_with('"') ? etag : std::string();
}

std::string Version::changed_in(const Answer& answer) const {
  // An answer to If-Range may leave Last-Modified out, but never the ETag.
  if (!etag.empty()) {
    return answer.etag == etag ? std::string() : "ETag " + (answer.etag.empty() ? "missing" : plain(answer.etag));
  }
  if (!last_modified.empty() && answer.last_modified != last_modified) {
    return "Last-Modified " + (answer.last_modified.empty() ? "missing" : plain(answer.last_modified));
  }
  return {};
}

}  // namespace headrace::io::http
