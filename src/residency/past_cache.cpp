#include "residency/past_cache.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace headrace::residency {
namespace {

// The thread that reads ahead, and somebody who can't wait.
constexpr unsigned kReadAtOnce = 2, kLanes = kReadAtOnce * io::DirectReaders::kOpen;

std::uint64_t largest_of(const Plan::Impl& plan) {
  std::uint64_t largest = 0;
  for (std::uint32_t i = 0; i < plan.tensors.size(); ++i)
    if (plan.tensors[i].bytes > largest && residency::is_given_as_stored(plan, i)) largest = plan.tensors[i].bytes;
  return largest;
}

void read_from(const io::DirectReader& reader, std::uint64_t first, std::span<std::byte> out, std::string_view name) {
  try {
    reader.read_at(first, out);
  } catch (const Error& error) {  // files know no tensors
    ErrorDetail detail = error.detail();
    detail.tensor = format::printable(name);
    throw Error(error.code(), error.problem(), std::move(detail));
  }
}

}  // namespace

std::uint64_t PastCache::staging_of(std::uint64_t memory) noexcept {
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  const std::uint64_t lane = std::min(memory / 16 / kLanes / kMiB, std::uint64_t{8}) * kMiB;
  return kLanes * lane;
}

// Blocks need no more of a lane than the ends of a read.
PastCache::PastCache(const Tensors& tensors, ReadAhead& ahead, std::uint64_t memory)
    : tensors_(tensors),
      ahead_(ahead),
      fills_memory_(staging_of(memory) > 0),
      readers_(kReadAtOnce,
               std::max<std::size_t>(static_cast<std::size_t>(staging_of(memory) / kLanes),
                                     io::DirectReader::kDepth * io::DirectReader::kAlignment),
               io::DirectReader::Engine::pread),
      blocks_(ahead_of(memory), largest_of(tensors.plan)),
      trust_(tensors.plan.tensors.size()) {}

PastCache::Use PastCache::begin_use(std::uint32_t tensor) {
  std::optional<Block> ahead = ahead_.take(tensor);
  if (ahead && ahead->memory) return {*std::move(ahead)};
  const InCache there = in_cache(tensor);
  if (goes_past(tensor, there, ahead.has_value())) {
    if (Block now = block(tensor); now.memory) return {std::move(now)};
    trust_.gave(tensor, false);
  }
  return {{}, there == InCache::all};
}

bool PastCache::read(std::uint32_t tensor, std::span<std::byte> out) {
  if (!is_given_as_stored(tensor)) return false;
  const std::optional<Block> ahead = ahead_.take(tensor);
  if (ahead && ahead->memory) {
    std::ranges::copy(std::span(ahead->memory.get(), ahead->size), out.begin());
    return true;
  }
  if (!goes_past(tensor, in_cache(tensor), ahead.has_value())) return false;
  if (read_into(tensor, 0, out)) return true;
  trust_.gave(tensor, false);
  return false;
}

// What isn't whole blocks within the tensor is refused by whoever reads it through the cache.
bool PastCache::read_part(std::uint32_t tensor, std::uint64_t offset, std::span<std::byte> out) {
  const TensorInfo& info = tensors_.infos[tensor];
  const std::uint64_t block = headrace::info(info.dtype).block_bytes;
  if (!is_given_as_stored(tensor) || block == 0 || offset % block != 0 || out.size() % block != 0 ||
      offset > info.bytes || out.size() > info.bytes - offset)
    return false;
  if (offset == 0 && !begin_parts(tensor)) return false;
  Block ahead;
  {
    const std::lock_guard lock(mutex_);
    const auto use = in_parts_.find(tensor);
    if (use == in_parts_.end()) return false;
    ahead = use->second;
    if (offset + out.size() == info.bytes) in_parts_.erase(use);
  }
  if (!ahead.memory) return read_into(tensor, offset, out);
  std::ranges::copy(std::span(ahead.memory.get() + offset, out.size()), out.begin());
  return true;
}

// False where it goes through the cache.
bool PastCache::begin_parts(std::uint32_t tensor) {
  std::optional<Block> ahead = ahead_.take(tensor);
  const bool is_here = ahead && ahead->memory;
  const bool past = is_here || goes_past(tensor, in_cache(tensor), ahead.has_value());
  const std::lock_guard lock(mutex_);
  in_parts_.erase(tensor);
  if (past) in_parts_.emplace(tensor, is_here ? *std::move(ahead) : Block{});
  return past;
}

void PastCache::release(std::uint32_t tensor) {
  Block gone;  // freed without the lock
  const std::lock_guard lock(mutex_);
  const auto use = in_parts_.find(tensor);
  if (use == in_parts_.end()) return;
  gone = std::move(use->second);
  in_parts_.erase(use);
}

bool PastCache::wants_ahead(std::uint32_t tensor) {
  return is_given_as_stored(tensor) && in_cache(tensor) == InCache::lost && trust_.reads_past(tensor);
}

// From the beginning of its first page to the end of its last, so that the disk writes all of it where it stays.
PastCache::Block PastCache::block(std::uint32_t tensor) {
  constexpr std::uint64_t kPage = io::DirectReader::kAlignment;
  const auto reader = reader_of(tensor);
  if (!reader) return {};
  const TensorInfo& from = tensors_.plan.source_of(tensors_.in_plan[tensor]);
  const std::uint64_t size = tensors_.plan.file_of(tensors_.in_plan[tensor]).size();
  const std::uint64_t lead = from.offset % kPage, first = from.offset - lead;
  const std::uint64_t wanted = std::min((lead + from.bytes + kPage - 1) / kPage * kPage, size - first);
  const auto memory = blocks_.take(static_cast<std::size_t>(wanted));
  if (!memory) return {};
  read_from(*reader, first, {memory.get(), static_cast<std::size_t>(wanted)}, tensors_.infos[tensor].name);
  bytes_read_ += from.bytes;
  return {{memory, memory.get() + lead}, from.bytes};
}

bool PastCache::is_given_as_stored(std::uint32_t tensor) const {
  return residency::is_given_as_stored(tensors_.plan, tensors_.in_plan[tensor]);
}

InCache PastCache::in_cache(std::uint32_t tensor) const noexcept {
  const TensorInfo& from = tensors_.plan.source_of(tensors_.in_plan[tensor]);
  return residency::in_cache(*tensors_.plan.file_of(tensors_.in_plan[tensor]).file(), from.offset, from.bytes);
}

bool PastCache::goes_past(std::uint32_t tensor, InCache there, bool was_to_be_ahead) {
  const bool lost = there == InCache::lost;
  if (lost && (was_to_be_ahead || trust_.reads_past(tensor))) {
    ahead_.make_way();
    return true;
  }
  trust_.gave(tensor, !lost);
  return false;
}

std::shared_ptr<const io::DirectReader> PastCache::reader_of(std::uint32_t tensor) const {
  try {
    return readers_.of(*tensors_.plan.file_of(tensors_.in_plan[tensor]).file());
  } catch (const Error&) {
    return nullptr;  // it has no memory
  }
}

bool PastCache::read_into(std::uint32_t tensor, std::uint64_t offset, std::span<std::byte> out) {
  const auto reader = fills_memory_ ? reader_of(tensor) : nullptr;
  if (!reader) return false;
  const std::uint64_t first = tensors_.plan.source_of(tensors_.in_plan[tensor]).offset + offset;
  read_from(*reader, first, out, tensors_.infos[tensor].name);
  bytes_read_ += out.size();
  return true;
}

}  // namespace headrace::residency
