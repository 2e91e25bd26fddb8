#include "io/concat.hpp"

#include "base/checked.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <utility>

namespace headrace::io {

Concat::Concat(std::string name, std::vector<Part> parts) : name_(std::move(name)), parts_(std::move(parts)) {
  ends_.reserve(parts_.size());
  std::uint64_t end = 0;
  for (const Part& part : parts_) {
    const auto sum = part->size() == kUnknownSize ? std::nullopt : base::checked_add(end, part->size());
    if (!sum || *sum == kUnknownSize) {
      throw Error(ErrorCode::format, "the files are too long to be read as one, or of unknown length",
                  {.file = part->name()});
    }
    ends_.push_back(end = *sum);
  }
}

Access Concat::access() const noexcept {
  const bool forward = std::ranges::any_of(parts_, [](const Part& part) { return part->access() == Access::forward; });
  return forward ? Access::forward : Access::random;
}

void Concat::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::size_t got = read_some_at(offset, out);
    if (got == 0) {
      throw Error(ErrorCode::io, "the files end too soon",
                  {.file = name_,
                   .offset = offset,
                   .expected = std::to_string(out.size()) + " more bytes",
                   .found = "the end of the last one"});
    }
    offset += got;
    out = out.subspan(got);
  }
}

// All that one part has of what is wanted.
std::size_t Concat::read_some_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (out.empty() || offset >= size()) return 0;
  const auto end = std::ranges::upper_bound(ends_, offset);  // skips empty parts
  const ByteSource& part = *parts_[static_cast<std::size_t>(end - ends_.begin())];
  const std::uint64_t left = *end - offset;
  const auto now = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left)));
  part.read_at(part.size() - left, now);
  return now.size();
}

bool Concat::comes_from(const FileId& file) const noexcept {
  return std::ranges::any_of(parts_, [&](const Part& part) { return part->comes_from(file); });
}

unsigned Concat::parallel_reads() const noexcept {
  unsigned least = 0;
  for (const Part& part : parts_) {
    const unsigned reads = part->parallel_reads();
    if (reads != 0 && (least == 0 || reads < least)) least = reads;
  }
  return least;
}

void Concat::finish() const {
  for (const Part& part : parts_) part->finish();
}

void Concat::interrupt() const noexcept {
  for (const Part& part : parts_) part->interrupt();
}

std::size_t Concat::memory() const noexcept {
  std::size_t bytes = name_.capacity() + parts_.capacity() * sizeof(Part) + ends_.capacity() * sizeof(std::uint64_t);
  for (const Part& part : parts_) bytes += part->memory();
  return bytes;
}

}  // namespace headrace::io
