#include "io/http/random_source.hpp"

#include "io/http/inlet.hpp"
#include "io/http/url.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace headrace::io::http {
namespace {

// Hands one range on, having made sure that it is the one asked for, of the same file as ever.
class RangeReceiver final : public Receiver {
 public:
  RangeReceiver(const Version& version, Range asked, const HttpSource::Take& take)
      : version_(version), asked_(asked), take_(take) {}

  Range asked() const noexcept { return asked_; }
  std::uint64_t received() const noexcept { return received_; }

  Body begin(const Answer& answer) override {
    if (answer.status == 206) return begin_range(answer);
    if (answer.status == 200) {
      require_unchanged(answer, answer.content_length);
      throw Error(ErrorCode::io, "the server no longer answers with ranges",
                  {.offset = asked_.first, .expected = "206 (a part)", .found = "200 (the whole file)"});
    }
    if (answer.status == 416) {
      if (const auto content = parse_content_range(answer.content_range))
        require_unchanged(answer, content->total, true);
    }
    return Body::refuse;
  }

  Taken take(std::span<const std::byte> bytes) override {
    if (bytes.size() > promised_ - received_)
      throw Error(ErrorCode::io, "the server sends more than it says", {.offset = asked_.first + promised_});
    take_(asked_.first + received_, bytes);
    received_ += bytes.size();
    return Taken::all;
  }

 private:
  Body begin_range(const Answer& answer) {
    refuse_compressed(answer);
    const auto content = parse_content_range(answer.content_range);
    if (content) require_unchanged(answer, content->total);
    if (!content || !content->range || content->range->first != asked_.first || content->range->last > asked_.last) {
      throw Error(ErrorCode::io, "the server sends another range than it was asked for",
                  {.offset = asked_.first,
                   .expected = fmt::format("bytes {}-{}/{}", asked_.first, asked_.last, version_.size),
                   .found = answer.content_range.empty() ? "no Content-Range" : plain(answer.content_range)});
    }
    promised_ = content->range->bytes();
    if (answer.content_length && *answer.content_length != promised_) {
      throw Error(ErrorCode::io, "the answer's length isn't that of its range",
                  {.offset = asked_.first,
                   .expected = fmt::format("Content-Length {}", promised_),
                   .found = fmt::to_string(*answer.content_length)});
    }
    return Body::take;
  }

  void require_unchanged(const Answer& answer, std::optional<std::uint64_t> size, bool size_alone = false) const {
    const auto refuse = [&](std::string expected, std::string found) {
      return Error(
          ErrorCode::io, "the file on the server has changed while it was read",
          {.offset = asked_.first, .expected = std::move(expected), .found = std::move(found), .hint = "start again"});
    };
    if (size && *size != version_.size) throw refuse(fmt::format("{} bytes", version_.size), fmt::to_string(*size));
    if (size_alone) return;
    if (const std::string found = version_.changed_in(answer); !found.empty()) {
      throw refuse(plain(version_.etag.empty() ? "Last-Modified " + version_.last_modified : "ETag " + version_.etag),
                   found);
    }
  }

  const Version& version_;
  const Range asked_;
  const HttpSource::Take& take_;
  std::uint64_t promised_ = 0, received_ = 0;
};

}  // namespace

HttpSource::HttpSource(std::shared_ptr<Remote> remote, Version version, std::vector<std::byte> head,
                       unsigned connections)
    : remote_(std::move(remote)),
      version_(std::move(version)),
      connections_(connections),
      counts_pool_(remote_->pool().claim()),
      lookahead_(std::move(head), version_.size) {}

HttpSource::~HttpSource() {
  if (counts_pool_) remote_->pool().unclaim();
}

std::size_t HttpSource::memory() const noexcept {
  return lookahead_.memory() + (counts_pool_ ? remote_->pool().memory() : 0);
}

void HttpSource::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > size() || out.size() > size() - offset) {
    throw Error(ErrorCode::io, "the file ends too soon",
                {.file = name(),
                 .offset = std::min(offset, size()),
                 .expected = fmt::format("{} bytes from {} on", out.size(), offset),
                 .found = fmt::format("{} bytes in all", size()),
                 .hint = "is it still being uploaded?"});
  }
  const bool small = out.size() <= Lookahead::kSmall;  // not the rest of a larger one: its neighbours are under way
  const std::size_t held = lookahead_.take(offset, out);
  offset += held;
  out = out.subspan(held);
  if (out.empty()) return;
  const std::size_t ahead = small ? lookahead_.ahead(offset, out.size()) : 0;
  if (ahead == 0) return fetch(offset, out);
  std::vector<std::byte> bytes(out.size() + ahead);
  fetch(offset, bytes);
  std::memcpy(out.data(), bytes.data(), out.size());
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(out.size()));
  lookahead_.put(offset + out.size(), std::move(bytes));
}

void HttpSource::fetch(std::uint64_t offset, std::span<std::byte> out) const {
  pour(offset, out.size(), [&](std::uint64_t at, std::span<const std::byte> bytes) {
    if (!bytes.empty()) std::memcpy(out.data() + (at - offset), bytes.data(), bytes.size());
  });
}

void HttpSource::pour(std::uint64_t offset, std::uint64_t bytes, const Take& take) const try {
  const Pool::Lease lease = remote_->pool().borrow(remote_->stopped());
  Retry retry(remote_->pool().patience());
  while (bytes > 0) {
    RangeReceiver receiver(version_, {offset, offset + bytes - 1}, take);
    const Reply reply = remote_->get(lease.connection(), receiver.asked(), version_.strong(), receiver);
    const std::uint64_t received = receiver.received();
    offset += received;
    bytes -= received;
    if (bytes > 0) remote_->try_again(retry, reply, received, offset);
  }
} catch (const Error& error) {
  rethrow(error, name());
}

}  // namespace headrace::io::http
