#include "format/zip/inflated_source.hpp"

#include "format/printable.hpp"
#include "format/zip/inflating_reader.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace headrace::format::zip {
namespace {

constexpr std::size_t kPiece = std::size_t{128} << 10;  // inflated and written together

}  // namespace

InflatedSource::InflatedSource(std::shared_ptr<Opened> archive, const Entry& entry)
    : archive_(std::move(archive)),
      entry_(entry),
      name_(fmt::format("{}/{}", archive_->source->name(), printable(entry.name))) {}

void InflatedSource::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > entry_.bytes || out.size() > entry_.bytes - offset) {
    throw Error(ErrorCode::io, "the entry ends too soon",
                {.file = name_,
                 .offset = offset,
                 .expected = fmt::format("{} more bytes", out.size()),
                 .found = fmt::format("{} in all", entry_.bytes)});
  }
  if (out.empty()) return;
  wait_for(offset + out.size());
  archive_->spool.read_at(spool_at_ + offset, out);
}

void InflatedSource::wait_for(std::uint64_t end) const {
  std::unique_lock lock(mutex_);
  if (state_ == State::untouched) {
    state_ = State::inflating;
    lock.unlock();
    inflate();
    lock.lock();
  }
  changed_.wait(lock, [&] { return there_ >= end || state_ != State::inflating || archive_->interrupted; });
  if (state_ == State::failed) std::rethrow_exception(error_);
  if (there_ < end) archive_->throw_if_interrupted();
}

void InflatedSource::inflate() const {
  State state = State::done;
  std::exception_ptr error;
  try {
    inflate_all();
  } catch (const Error& failure) {
    // An offset in the archive means nothing to those who read the entry: they'd look for a tensor there.
    ErrorDetail detail = failure.detail();
    if (detail.offset && detail.tensor.empty()) detail.tensor = printable(entry_.name);
    error = std::make_exception_ptr(Error(failure.code(), failure.problem(), std::move(detail)));
  } catch (...) {
    error = std::current_exception();
  }
  if (error) state = State::failed;
  const std::lock_guard lock(mutex_);
  state_ = state;
  error_ = std::move(error);
  changed_.notify_all();
}

void InflatedSource::inflate_all() const {
  spool_at_ = archive_->spool.reserve(entry_.bytes);
  InflatingReader reader(*archive_, entry_);
  std::vector<std::byte> piece(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, entry_.bytes)));
  for (std::uint64_t at = 0; at < entry_.bytes;) {
    const auto part = std::span(piece).first(reader.next(piece));
    archive_->spool.write_at(spool_at_ + at, part);
    at += part.size();
    const std::lock_guard lock(mutex_);
    there_ = at;
    changed_.notify_all();
  }
}

void InflatedSource::finish() const {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::failed) std::rethrow_exception(error_);
  }
  archive_->finish_source();
}

void InflatedSource::interrupt() const noexcept {
  archive_->interrupt();
  const std::lock_guard lock(mutex_);  // so that nobody is between looking and waiting
  changed_.notify_all();
}

}  // namespace headrace::format::zip
