#include "flow/loading/host_files.hpp"

#include "device/host/machine.hpp"
#include "io/fault_watch.hpp"
#include "io/page_cache.hpp"

#include <headrace/error.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

namespace headrace::flow {
namespace {

// Below this share, what the cache has isn't worth the way through it.
constexpr double kHardlyCached = 0.1;
// Pieces come file after file: one is finished while the next has begun.
constexpr std::size_t kOpen = 2;
constexpr std::uint64_t kSmallestLane = std::uint64_t{256} << 10, kLargestLane = std::uint64_t{8} << 20;

std::uint64_t page_bytes() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

// A virtual machine's host maps a page when it is first looked at, and takes its time: less of it now, while the disk
// brings what comes next, than when a caller waits. False when the file has become shorter since.
bool look_at(const io::Mapping& mapping, std::uint64_t first, std::uint64_t count) {
  const std::uint64_t page = page_bytes(), start = first / page * page, end = first + count;
  const io::FaultWatch watch(mapping.pages().subspan(start, end - start));
  // From the first of its own bytes on: somebody may be writing to those before.
  for (std::uint64_t at = first; at < end; at = (at / page + 1) * page)
    (void)*static_cast<const volatile std::byte*>(&mapping.pages()[at]);
  return !watch.broken();
}

// Every tensor's bytes in memory of our own: is there that much?
bool fits_in_memory(const Plan::Impl& plan) {
  const std::uint64_t bytes =
      std::accumulate(plan.tensors.begin(), plan.tensors.end(), std::uint64_t{0},
                      [](std::uint64_t sum, const TensorInfo& tensor) { return sum + tensor.bytes; });
  return bytes <= device::host::look_at_machine().free_bytes.value_or(bytes);
}

}  // namespace

HostFiles::HostFiles(const Plan::Impl& plan, HostReads how, bool to_host, unsigned threads, base::Gate& gate)
    : threads_(threads) {
  const bool fits = how != HostReads::automatic || !to_host || fits_in_memory(plan);
  bool some_direct = false;
  for (std::uint32_t i = 0; i < plan.tensors.size(); ++i) {
    const io::File* file = plan.file_of(i).file();
    if (file == nullptr || readings_.contains(file)) continue;
    some_direct |= (readings_[file] = choose(*file, how, to_host, fits)).direct;
  }
  const std::uint64_t lane = gate.available() / 4 / (kOpen * threads);
  if (!some_direct || lane < kSmallestLane) return;
  lane_bytes_ = std::min(lane, kLargestLane);
  gate.charge(kOpen * threads * lane_bytes_, "reading past the system's cache");
}

HostFiles::Reading HostFiles::choose(const io::File& file, HostReads how, bool to_host, bool fits) {
  const bool cached = io::is_cached(file, 0, file.size());
  const bool automatic = how == HostReads::automatic;
  if (to_host && (how == HostReads::mapped || automatic)) {
    try {
      return {.mapping = std::make_shared<const io::Mapping>(file), .populate = !cached && fits};
    } catch (const Error&) {
      if (!automatic) throw;
      return {};  // less address space than the file wants, or a file system that maps nothing
    }
  }
  const bool cold = automatic && !cached && io::cached_share(file).value_or(1) < kHardlyCached;
  return {.direct = how == HostReads::direct || cold};
}

std::shared_ptr<const io::Mapping> HostFiles::mapping(const io::File& file) const noexcept {
  const auto at = readings_.find(&file);
  return at == readings_.end() ? nullptr : at->second.mapping;
}

void HostFiles::populate(const io::File& file, std::uint64_t first, std::uint64_t count) const {
  const io::Mapping& mapping = *readings_.at(&file).mapping;
  const bool there = read_ahead(mapping, first, count);
  if (there && look_at(mapping, first, count)) return;
  // The system says only that it can't; a read says where and why.
  std::array<std::byte, std::size_t{16} << 10> scratch;
  for (std::uint64_t at = first; at < first + count; at += scratch.size())
    file.read_at(at, std::span(scratch).first(std::min(scratch.size(), first + count - at)));
  if (there) throw Error(ErrorCode::io, "the file changed while it was read", {.file = file.name()});  // zeros were seen
}

// One run after the other: the system reads ahead of a file at one place, and two that take turns cost a third more.
bool HostFiles::read_ahead(const io::Mapping& mapping, std::uint64_t first, std::uint64_t count) const noexcept {
  const std::lock_guard turn(populating_);
  const std::uint64_t start = first / page_bytes() * page_bytes();
  return mapping.populate(start, first + count - start);
}

bool HostFiles::populates() const noexcept {
  return std::ranges::any_of(readings_, [](const auto& reading) { return reading.second.populate; });
}

bool HostFiles::populates(const io::File& file) const noexcept {
  const auto reading = readings_.find(&file);
  return reading != readings_.end() && reading->second.populate;
}

bool HostFiles::is_direct(const io::File& file) const noexcept {
  const auto reading = readings_.find(&file);
  return lane_bytes_ > 0 && reading != readings_.end() && reading->second.direct;
}

void HostFiles::read(const io::File& file, std::uint64_t at, std::span<std::byte> out) const {
  if (const auto reader = direct(file)) return reader->read_at(at, out);
  file.read_at(at, out);
}

void HostFiles::let_go() noexcept {
  open_.clear();
  readings_.clear();
}

std::shared_ptr<const io::DirectReader> HostFiles::direct(const io::File& file) const {
  if (!is_direct(file)) return nullptr;
  const std::lock_guard lock(mutex_);
  const auto at = std::ranges::find(open_, &file, &Direct::file);
  if (at != open_.end()) return at->reader;
  if (open_.size() == kOpen) open_.pop_front();
  open_.push_back({&file, io::DirectReader::open(file, threads_, lane_bytes_)});
  return open_.back().reader;
}

}  // namespace headrace::flow
