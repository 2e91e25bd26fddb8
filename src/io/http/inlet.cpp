#include "io/http/inlet.hpp"

#include "io/byte_source.hpp"
#include "io/http/url.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace headrace::io::http {

void refuse_compressed(const Answer& answer) {
  if (answer.content_encoding.empty()) return;
  throw Error(ErrorCode::unsupported, "the server compresses the file, though asked not to",
              {.expected = "no Content-Encoding",
               .found = plain(answer.content_encoding),
               .hint = "download and unpack it first"});
}

Receiver::Body Inlet::begin(const Answer& answer) {
  switch (answer.status) {
    case 206: return begin_range(answer);
    case 200: return begin_whole(answer);
    case 416: {
      const auto content = parse_content_range(answer.content_range);
      file_is_empty_ = content && !content->range && content->total == 0U;
      return Body::refuse;
    }
    default: return Body::refuse;
  }
}

Receiver::Body Inlet::begin_range(const Answer& answer) {
  refuse_compressed(answer);
  const auto content = parse_content_range(answer.content_range);
  const auto refuse = [&](const char* problem, std::string expected) {
    const std::string found = answer.content_range.empty() ? "no Content-Range" : plain(answer.content_range);
    return Error(ErrorCode::io, problem, {.offset = asked_.first, .expected = std::move(expected), .found = found});
  };
  if (!content || !content->range || content->range->first != asked_.first || content->range->last > asked_.last) {
    throw refuse("the server sends another range than it was asked for",
                 fmt::format("bytes {}-{}/size", asked_.first, asked_.last));
  }
  if (!content->total) throw refuse("the server doesn't say how large the file is", "a size after the slash");
  promised_ = content->range->bytes();
  if (answer.content_length && *answer.content_length != promised_) {
    throw Error(
        ErrorCode::io, "the answer's length isn't that of its range",
        {.expected = fmt::format("Content-Length {}", promised_), .found = fmt::to_string(*answer.content_length)});
  }
  version_ = {*content->total, answer.etag, answer.last_modified};
  make_room(promised_);
  return Body::take;
}

Receiver::Body Inlet::begin_whole(const Answer& answer) {
  refuse_compressed(answer);
  version_ = {answer.content_length.value_or(kUnknownSize), answer.etag, answer.last_modified};
  promised_ = version_.size;
  file_is_empty_ = version_.size == 0;
  make_room(static_cast<std::size_t>(std::min<std::uint64_t>(version_.size, kBuffer)));
  return Body::hand_over;
}

void Inlet::make_room(std::size_t bytes) {
  buffer_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
  capacity_ = bytes;
  next_ = used_ = 0;
}

Receiver::Taken Inlet::take(std::span<const std::byte> bytes) {
  if (bytes.size() > capacity_ - used_) {
    if (promised_ <= capacity_) throw Error(ErrorCode::io, "the server sends more than it says");
    if (bytes.size() > capacity_ - (used_ - next_)) return Taken::later;
    std::memmove(buffer_.get(), buffer_.get() + next_, used_ - next_);
    used_ -= next_;
    next_ = 0;
  }
  if (!bytes.empty()) std::memcpy(buffer_.get() + used_, bytes.data(), bytes.size());
  used_ += bytes.size();
  return Taken::all;
}

std::size_t Inlet::read(std::span<std::byte> out) noexcept {
  const std::size_t n = std::min(out.size(), used_ - next_);
  if (n > 0) std::memcpy(out.data(), buffer_.get() + next_, n);
  next_ += n;
  if (next_ == used_) next_ = used_ = 0;
  return n;
}

std::vector<std::byte> Inlet::bytes() const { return {buffer_.get() + next_, buffer_.get() + used_}; }

}  // namespace headrace::io::http
