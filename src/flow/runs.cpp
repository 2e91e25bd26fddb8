#include "flow/runs.hpp"

#include <algorithm>
#include <cstring>

namespace headrace::flow {
namespace {

// Small enough to stay in a core's own cache between being filled and being picked from.
constexpr std::size_t kScratch = std::size_t{256} << 10;
// From here on, runs are read straight to where they belong.
constexpr std::uint64_t kLongRun = 32 << 10;

template <std::size_t kBytes>
void pick(const std::byte* from, std::uint64_t stride, std::uint64_t count, std::byte* to) {
  for (std::uint64_t i = 0; i < count; ++i) std::memcpy(to + i * kBytes, from + i * stride, kBytes);
}

void pick(const std::byte* from, std::uint64_t stride, std::uint64_t count, std::uint64_t bytes, std::byte* to) {
  switch (bytes) {
    case 1: return pick<1>(from, stride, count, to);
    case 2: return pick<2>(from, stride, count, to);
    case 4: return pick<4>(from, stride, count, to);
    case 8: return pick<8>(from, stride, count, to);
    default:
      for (std::uint64_t i = 0; i < count; ++i) std::memcpy(to + i * bytes, from + i * stride, bytes);
  }
}

}  // namespace

void RunReader::read(const Runs& runs, std::byte* out) {
  out_ = out;
  if (runs.strides.empty()) return read_(runs.base, std::span(out, static_cast<std::size_t>(runs.bytes)));
  // The innermost stride's runs at once; the others count like an odometer.
  const Stride inner = runs.strides.back();
  const std::span<const Stride> outer = std::span(runs.strides).first(runs.strides.size() - 1);
  std::vector<std::uint64_t> index(outer.size());
  for (std::uint64_t at = runs.base;;) {
    if (runs.bytes >= kLongRun) {
      read_each(runs, at, inner.count, inner.stride);
    } else {
      add(at, inner.count, inner.stride, runs.bytes);
    }
    std::size_t d = outer.size();
    for (; d > 0; --d) {
      at += outer[d - 1].stride;
      if (++index[d - 1] < outer[d - 1].count) break;
      at -= outer[d - 1].stride * outer[d - 1].count;
      index[d - 1] = 0;
    }
    if (d == 0) break;
  }
  flush(inner.stride, runs.bytes);
}

void RunReader::read_each(const Runs& runs, std::uint64_t at, std::uint64_t count, std::uint64_t stride) {
  for (std::uint64_t i = 0; i < count; ++i, out_ += runs.bytes) {
    read_(at + i * stride, std::span(out_, static_cast<std::size_t>(runs.bytes)));
  }
}

// Takes as many runs into the window as fit and lie close enough, and reads it when no more do.
void RunReader::add(std::uint64_t at, std::uint64_t count, std::uint64_t stride, std::uint64_t bytes) {
  const bool apart = stride - bytes > gap_;
  while (count > 0) {
    const bool fits = at + bytes - window_begin_ <= kScratch && at - window_end_ <= gap_;
    if (!parts_.empty() && !fits) flush(stride, bytes);
    if (parts_.empty()) window_begin_ = at;
    const std::uint64_t room = apart ? 1 : (kScratch - (at - window_begin_) - bytes) / stride + 1;
    const std::uint64_t n = std::min(count, room);
    parts_.push_back({at, n});
    window_end_ = at + (n - 1) * stride + bytes;
    at += n * stride;
    count -= n;
  }
}

void RunReader::flush(std::uint64_t stride, std::uint64_t bytes) {
  if (parts_.empty()) return;
  const auto window = static_cast<std::size_t>(window_end_ - window_begin_);
  if (window == bytes) {  // a single run
    read_(window_begin_, std::span(out_, window));
    out_ += bytes;
  } else {
    if (!scratch_) scratch_ = std::make_unique_for_overwrite<std::byte[]>(kScratch);
    read_(window_begin_, std::span(scratch_.get(), window));
    for (const Part& part : parts_) {
      pick(scratch_.get() + (part.at - window_begin_), stride, part.count, bytes, out_);
      out_ += part.count * bytes;
    }
  }
  parts_.clear();
}

}  // namespace headrace::flow
