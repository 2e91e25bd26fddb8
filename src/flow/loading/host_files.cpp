#include "flow/loading/host_files.hpp"

#include "device/host/machine.hpp"
#include "io/page_cache.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <numeric>
#include <utility>

namespace headrace::flow {
namespace {

// Below this share, what the cache has isn't worth the way through it.
constexpr double kHardlyCached = 0.1;
constexpr std::uint64_t kSmallestLane = std::uint64_t{256} << 10, kLargestLane = std::uint64_t{8} << 20;

// Every tensor's bytes in memory of our own: is there that much?
bool fits_in_memory(const Plan::Impl& plan) {
  const std::uint64_t bytes =
      std::accumulate(plan.tensors.begin(), plan.tensors.end(), std::uint64_t{0},
                      [](std::uint64_t sum, const TensorInfo& tensor) { return sum + tensor.bytes; });
  return bytes <= device::host::look_at_machine().free_bytes.value_or(bytes);
}

}  // namespace

HostFiles::HostFiles(const Plan::Impl& plan, HostReads how, bool to_host, unsigned threads, base::Gate& gate) {
  bool some_direct = false;
  for (std::uint32_t i = 0; i < plan.tensors.size(); ++i) {
    const io::File* file = plan.file_of(i).file();
    if (file == nullptr || readings_.contains(file)) continue;
    some_direct |= (readings_[file] = choose(plan, *file, how, to_host)).direct;
  }
  const std::uint64_t lanes = io::DirectReaders::kOpen * threads, lane = gate.available() / 4 / lanes;
  if (!some_direct || lane < kSmallestLane) return;
  const std::uint64_t bytes = std::min(lane, kLargestLane);
  gate.charge(lanes * bytes, "reading past the system's cache");
  direct_.emplace(threads, static_cast<std::size_t>(bytes));
}

HostFiles::Reading HostFiles::choose(const Plan::Impl& plan, const io::File& file, HostReads how, bool to_host) {
  const bool cached = io::is_cached(file, 0, file.size()).value_or(false);
  const bool automatic = how == HostReads::automatic;
  if (to_host && (how == HostReads::mapped || automatic)) {
    try {
      return {.mapping = std::make_shared<const io::Mapping>(file),
              .populate = !cached && (!automatic || fits_in_memory(plan))};
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
  populator_.bring(file, *readings_.at(&file).mapping, first, count);
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
  return direct_ && reading != readings_.end() && reading->second.direct;
}

void HostFiles::read(const io::File& file, std::uint64_t at, std::span<std::byte> out) const {
  const auto reader = is_direct(file) ? direct_->of(file) : nullptr;
  if (reader) return reader->read_at(at, out);
  file.read_at(at, out);
}

void HostFiles::let_go() noexcept {
  direct_.reset();
  readings_.clear();
}

}  // namespace headrace::flow
