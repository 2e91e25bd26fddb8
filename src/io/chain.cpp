#include "io/chain.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace headrace::io {

// Nothing is kept: whoever reads tensors reads each byte once.
Chain::Chain(std::string name, std::uint64_t size, Files files, const CancelToken& cancel)
    : ForwardSource(std::move(name), size, 0), memory_(files.memory), files_(std::move(files)) {
  on_cancel_ = cancel.on_cancel([stop = stop_] { stop.cancel(); });
  for (const Source& file : files_.opened) memory_ += file->memory();
}

std::size_t Chain::receive(std::span<std::byte> out) const {
  const std::uint64_t left = size() - received_;
  if (left == 0) {
    for (; at_ < files_.count; go_on()) require_end();
    return 0;
  }
  for (; at_ < files_.count; go_on()) {
    const ByteSource& file = current();
    const std::size_t most = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left));
    const std::size_t got = file.read_some_at(in_file_, out.first(most));
    if (got == 0) continue;
    in_file_ += got;
    received_ += got;
    if (got == left) require_end();
    if (got == left || in_file_ == file.size()) go_on();  // its connection is free for others
    return got;
  }
  throw Error(ErrorCode::format, "the files of a group end before its last tensor does",
              {.file = last_.empty() ? name() : last_,
               .offset = in_file_,
               .expected = std::to_string(left) + " more bytes",
               .found = "the end",
               .hint = "was it cut short?"});
}

const ByteSource& Chain::current() const {
  stop_.throw_if_cancelled();
  if (file_) return *file_;
  file_ = at_ < files_.opened.size() ? std::exchange(files_.opened[at_], nullptr) : files_.open(at_, stop_);
  in_file_ = 0;
  last_ = file_->name();
  return *file_;
}

// Of the file that is being read.
void Chain::require_end() const {
  const ByteSource& file = current();
  std::array<std::byte, 1> more;
  if (in_file_ == file.size() || file.read_some_at(in_file_, more) == 0) return;
  throw Error(ErrorCode::format, "the file goes on after the last tensor of its group",
              {.file = file.name(), .offset = in_file_, .expected = "its end", .found = "more bytes"});
}

// in_file_ stays: the length of the file that has ended.
void Chain::go_on() const {
  file_ = nullptr;
  ++at_;
}

void Chain::finish() const {
  std::array<std::byte, 1> none;
  read_some_at(size(), none);
}

}  // namespace headrace::io
