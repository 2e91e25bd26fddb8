#include "format/zip/inflating_reader.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace headrace::format::zip {

InflatingReader::InflatingReader(const Opened& archive, const Entry& entry, std::size_t window)
    : archive_(archive),
      entry_(entry),
      buffer_(static_cast<std::size_t>(std::min<std::uint64_t>(window, entry.stored_bytes))) {}

// Without an offset: who reads the inflated bytes counts others than those of the archive.
void InflatingReader::refuse(const char* problem, std::string expected, std::string found) const {
  throw Error(ErrorCode::format, fmt::format("{} {}", entry_title(entry_.name), problem),
              {.file = archive_.source->name(),
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = "the file is damaged"});
}

std::size_t InflatingReader::next(std::span<std::byte> out) {
  out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), entry_.bytes - produced_)));
  std::size_t filled = 0;
  while (filled < out.size()) {
    const Inflater::Step done = step(out.subspan(filled));
    filled += done.produced;
    if (done.state == Inflater::State::end && filled < out.size()) {
      refuse("is shorter than the archive says", fmt::format("{} bytes", entry_.bytes),
             fmt::to_string(produced_ + filled));
    }
  }
  crc_ = crc32(crc_, out);
  produced_ += filled;
  if (produced_ == entry_.bytes) check_end();
  return filled;
}

// One step of the inflater, with more of the entry's stored bytes when it has used up what it had.
Inflater::Step InflatingReader::step(std::span<std::byte> out) {
  archive_.throw_if_interrupted();
  if (in_.empty() && read_ < entry_.stored_bytes) {
    const auto want = std::min<std::uint64_t>(buffer_.size(), entry_.stored_bytes - read_);
    const auto window = std::span(buffer_).first(static_cast<std::size_t>(want));
    archive_.source->read_at(entry_.data_offset + read_, window);
    read_ += want;
    in_ = window;
  }
  const Inflater::Step done = inflater_.step(in_, out);
  in_ = in_.subspan(done.consumed);
  ended_ = done.state == Inflater::State::end;
  if (done.state == Inflater::State::damaged) refuse("is damaged: its deflated data makes no sense");
  if (done.state == Inflater::State::more && done.produced == 0 && in_.empty() && read_ == entry_.stored_bytes)
    refuse("ends before its deflated data does");
  return done;
}

// What remains must be the end mark alone.
void InflatingReader::check_end() {
  std::array<std::byte, 1> excess;
  while (!ended_) {
    if (step(excess).produced > 0)
      refuse("is larger than the archive says", fmt::format("{} bytes", entry_.bytes), "more");
  }
  if (!in_.empty() || read_ != entry_.stored_bytes) {
    refuse("goes on after its deflated data", {},
           fmt::format("{} more bytes", entry_.stored_bytes - read_ + in_.size()));
  }
  check_crc(archive_, entry_, crc_);
}

}  // namespace headrace::format::zip
