#include "io/populator.hpp"

#include "io/fault_watch.hpp"

#include <headrace/error.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

namespace headrace::io {
namespace {

std::uint64_t page_bytes() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

// A virtual machine's host maps a page when it is first looked at, and takes its time: less of it now, while the disk
// brings what comes next, than when a caller waits. False when the file has become shorter since.
bool look_at(const Mapping& mapping, std::uint64_t first, std::uint64_t count) {
  const std::uint64_t page = page_bytes(), start = first / page * page, end = first + count;
  const FaultWatch watch(mapping.pages().subspan(start, end - start));
  // From the first of its own bytes on: somebody may be writing to those before.
  for (std::uint64_t at = first; at < end; at = (at / page + 1) * page)
    (void)*static_cast<const volatile std::byte*>(&mapping.pages()[at]);
  return !watch.broken();
}

}  // namespace

void Populator::bring(const File& file, const Mapping& mapping, std::uint64_t first, std::uint64_t count) const {
  const bool there = read(mapping, first, count);
  if (there && look_at(mapping, first, count)) return;
  // The system says only that it can't; a read says where and why.
  std::array<std::byte, std::size_t{16} << 10> scratch;
  for (std::uint64_t at = first; at < first + count; at += scratch.size())
    file.read_at(at, std::span(scratch).first(std::min(scratch.size(), first + count - at)));
  if (there)
    throw Error(ErrorCode::io, "the file changed while it was read", {.file = file.name()});  // zeros were seen
}

// One run after the other: the system reads ahead of a file at one place, and two that take turns cost a third more.
bool Populator::read(const Mapping& mapping, std::uint64_t first, std::uint64_t count) const noexcept {
  const std::lock_guard turn(reading_);
  return mapping.populate(first, count);
}

}  // namespace headrace::io
