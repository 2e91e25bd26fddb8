#include "format/tfjs/strings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

namespace headrace::format::tfjs {
namespace {

constexpr std::size_t kLength = 4;  // bytes in front of each string

// The numbers of a source, read forward through a window.
class Lengths {
 public:
  explicit Lengths(const io::ByteSource& source)
      : source_(source), window_(std::make_unique_for_overwrite<std::byte[]>(StringRun::kWindow)) {}

  // All four bytes must be there.
  std::uint32_t at(std::uint64_t offset) {
    if (offset < begin_ || offset + kLength > begin_ + size_) {
      begin_ = offset;
      size_ = static_cast<std::size_t>(std::min<std::uint64_t>(StringRun::kWindow, source_.size() - offset));
      source_.read_at(begin_, std::span(window_.get(), size_));
    }
    std::uint32_t number = 0;
    std::memcpy(&number, window_.get() + (offset - begin_), sizeof number);
    return number;
  }

 private:
  const io::ByteSource& source_;
  std::unique_ptr<std::byte[]> window_;
  std::uint64_t begin_ = 0;
  std::size_t size_ = 0;
};

}  // namespace

StringRun walk_strings(const io::ByteSource& source, std::uint64_t begin, std::uint64_t count) {
  StringRun run{.end = begin};
  const std::uint64_t size = source.size();
  if (count > (size - begin) / kLength) {
    run.trouble = fmt::format("{} strings don't fit {} bytes", count, size - begin);
    return run;
  }
  if (count == 0) return run;
  Lengths lengths(source);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t left = size - run.end;
    if (left < kLength) {
      run.trouble = fmt::format("the bytes end before string {}", i);
      return run;
    }
    const std::uint32_t length = lengths.at(run.end);
    if (length > left - kLength) {
      run.trouble = fmt::format("string {} has {} bytes, but only {} are left", i, length, left - kLength);
      return run;
    }
    run.end += kLength + length;
  }
  return run;
}

}  // namespace headrace::format::tfjs
