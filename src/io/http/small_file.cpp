#include "io/http/small_file.hpp"

#include "io/http/url.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace headrace::io::http {

SmallFile::SmallFile(Opened opened, std::function<Opened()> reopen, int attempts)
    : name_(opened.stream->name()),
      version_(std::move(opened.version)),
      reopen_(std::move(reopen)),
      attempts_(attempts),
      bytes_(version_.size),
      stream_(std::move(opened.stream)) {}

void SmallFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > size() || out.size() > size() - offset) {
    throw Error(ErrorCode::io, "the file ends too soon",
                {.file = name_,
                 .offset = offset,
                 .expected = fmt::format("{} more bytes", out.size()),
                 .found = fmt::format("the end at {}", size())});
  }
  const std::lock_guard lock(filling_);
  fill(offset + out.size());
  if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
}

// Until the bytes before `end` are here.
void SmallFile::fill(std::uint64_t end) const {
  int failed = 0;
  std::uint64_t before = filled_;  // when this attempt began
  while (filled_ < end) {
    try {
      receive();
    } catch (const Error& error) {
      failed = filled_ > before ? 0 : failed + 1;
      before = filled_;
      if (error.code() != ErrorCode::io || failed >= attempts_) throw;
      open_again();
    }
  }
}

void SmallFile::receive() const {
  const std::size_t got = stream()->read_some_at(filled_, std::span(bytes_).subspan(filled_));
  if (got == 0) throw Error(ErrorCode::io, "the file ends too soon", {.file = name_, .offset = filled_});
  filled_ += got;
}

void SmallFile::open_again() const {
  Opened again = reopen_();
  const Version& now = again.version;
  if (now.size != version_.size || now.etag != version_.etag || now.last_modified != version_.last_modified) {
    const auto text = [](const Version& version) {
      return fmt::format("{} bytes{}", version.size, version.etag.empty() ? "" : ", ETag " + plain(version.etag));
    };
    throw Error(ErrorCode::conflict, "the file has changed on the server meanwhile",
                {.file = name_, .expected = text(version_), .found = text(now)});
  }
  const std::lock_guard lock(mutex_);
  stream_ = std::move(again.stream);
  if (interrupted_) stream_->interrupt();
}

std::shared_ptr<const ByteSource> SmallFile::stream() const {
  const std::lock_guard lock(mutex_);
  return stream_;
}

void SmallFile::interrupt() const noexcept {
  const std::lock_guard lock(mutex_);
  interrupted_ = true;
  stream_->interrupt();
}

}  // namespace headrace::io::http
