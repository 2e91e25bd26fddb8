#include "io/fetched_source.hpp"

#include "io/forward_source.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <utility>

namespace headrace {

std::size_t ByteStream::read_at(std::uint64_t offset, std::span<std::byte>) {
  throw Error(ErrorCode::internal, "a ByteStream whose ranges() is true must have a read_at() of its own",
              {.offset = offset});
}

}  // namespace headrace

namespace headrace::io {
namespace {

// Says when to stop: either the caller's token or an interrupt.
class Stop {
 public:
  explicit Stop(CancelToken cancel) : cancel_(std::move(cancel)) {}

  void set() noexcept { stopped_ = true; }
  void check(const std::string& file) const {
    if (stopped_ || cancel_.cancelled()) throw Error(ErrorCode::cancelled, "cancelled", {.file = file});
  }

 private:
  const CancelToken cancel_;
  std::atomic<bool> stopped_{false};
};

void check_given(std::size_t got, std::size_t asked, const std::string& file, std::uint64_t offset) {
  if (got <= asked) return;
  throw Error(ErrorCode::io, "the stream gives more than it was asked for",
              {.file = file,
               .offset = offset,
               .expected = "at most " + std::to_string(asked) + " bytes",
               .found = std::to_string(got),
               .hint = "read() returns how many bytes it has put into what it was given"});
}

Error ends_too_soon(const std::string& file, std::uint64_t offset, std::uint64_t size) {
  return {ErrorCode::io,
          "the stream ends too soon",
          {.file = file,
           .offset = offset,
           .expected = std::to_string(size) + " bytes, as it says",
           .found = "the end",
           .hint = "was it cut short?"}};
}

class FetchedStream final : public ForwardSource {
 public:
  FetchedStream(std::string name, std::shared_ptr<ByteStream> stream, std::uint64_t size, CancelToken cancel)
      : ForwardSource(std::move(name), size), stream_(std::move(stream)), stop_(std::move(cancel)) {}

  void interrupt() const noexcept override { stop_.set(); }

 protected:
  std::size_t receive(std::span<std::byte> out) const override {
    if (ended_) return 0;
    stop_.check(name());
    const std::size_t got = stream_->read(out);
    check_given(got, out.size(), name(), received_);
    const bool sized = size() != kUnknownSize;
    if (got == 0 && sized && received_ < size()) throw ends_too_soon(name(), received_, size());
    if (sized && got > size() - received_) {
      throw Error(ErrorCode::io, "the stream goes on after its end",
                  {.file = name(), .offset = size(), .expected = "its end, as it says", .found = "more bytes"});
    }
    ended_ = got == 0;
    received_ += got;
    return got;
  }

 private:
  const std::shared_ptr<ByteStream> stream_;
  mutable Stop stop_;
  mutable std::uint64_t received_ = 0;
  mutable bool ended_ = false;
};

class FetchedRanges final : public ByteSource {
 public:
  FetchedRanges(std::string name, std::shared_ptr<ByteStream> stream, std::uint64_t size, CancelToken cancel)
      : name_(std::move(name)), stream_(std::move(stream)), size_(size), stop_(std::move(cancel)) {}

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return size_; }
  void interrupt() const noexcept override { stop_.set(); }

  void read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    while (!out.empty()) {
      stop_.check(name_);
      if (offset >= size_) throw ends_too_soon(name_, offset, offset + out.size());
      const std::size_t got = stream_->read_at(offset, out);
      check_given(got, out.size(), name_, offset);
      if (got == 0) throw ends_too_soon(name_, offset, size_);
      offset += got;
      out = out.subspan(got);
    }
  }

 private:
  const std::string name_;
  const std::shared_ptr<ByteStream> stream_;
  const std::uint64_t size_;
  mutable Stop stop_;
};

}  // namespace

std::shared_ptr<const ByteSource> open_fetched(const Location& location, const SourceOptions& options) {
  std::shared_ptr<ByteStream> stream = options.fetch(location.given());
  const std::string& name = location.text();
  if (!stream) throw Error(ErrorCode::invalid_argument, "fetch returned no stream", {.file = name});
  const std::optional<std::uint64_t> size = stream->size();
  if (!stream->ranges())
    return std::make_shared<FetchedStream>(name, std::move(stream), size.value_or(kUnknownSize), options.cancel);
  if (!size) {
    throw Error(ErrorCode::invalid_argument, "a stream with ranges has to know its size",
                {.file = name, .expected = "size() that returns a number where ranges() is true"});
  }
  return std::make_shared<FetchedRanges>(name, std::move(stream), *size, options.cancel);
}

}  // namespace headrace::io
