#include "residency/past_cache.hpp"

#include "format/printable.hpp"
#include "residency/mapped_tensor.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <utility>

namespace headrace::residency {
namespace {

// The thread that reads ahead, and somebody who can't wait.
constexpr unsigned kReadAtOnce = 2;

std::uint64_t largest_of(const Plan::Impl& plan) {
  std::uint64_t largest = 0;
  for (const TensorInfo& tensor : plan.tensors) largest = std::max(largest, tensor.bytes);
  return largest;
}

}  // namespace

PastCache::PastCache(const Plan::Impl& plan, std::uint64_t ahead)
    : plan_(plan),
      readers_(kReadAtOnce, io::DirectReader::kDepth * io::DirectReader::kAlignment, io::DirectReader::Engine::pread),
      blocks_(ahead, largest_of(plan)) {}

bool PastCache::is_lost(std::uint32_t tensor) const noexcept {
  const TensorInfo& from = plan_.source_of(tensor);
  return residency::is_lost(*plan_.file_of(tensor).file(), from.offset, from.bytes);
}

std::shared_ptr<const io::DirectReader> PastCache::reader_of(const io::File& file) const {
  try {
    return readers_.of(file);
  } catch (const Error&) {
    return nullptr;  // it has no memory
  }
}

// From the beginning of its first page to the end of its last, so that the disk writes all of it where it stays.
std::shared_ptr<std::byte> PastCache::read(std::uint32_t tensor, std::string_view name) const {
  constexpr std::uint64_t kPage = io::DirectReader::kAlignment;
  const TensorInfo& from = plan_.source_of(tensor);
  const io::File& file = *plan_.file_of(tensor).file();
  const auto reader = reader_of(file);
  const std::uint64_t lead = from.offset % kPage, first = from.offset - lead;
  const std::uint64_t wanted = std::min((lead + from.bytes + kPage - 1) / kPage * kPage, file.size() - first);
  const auto block = reader ? blocks_.take(static_cast<std::size_t>(wanted)) : nullptr;
  if (!block) return nullptr;
  try {
    reader->read_at(first, {block.get(), static_cast<std::size_t>(wanted)});
  } catch (const Error& error) {  // files know no tensors
    ErrorDetail detail = error.detail();
    detail.tensor = format::printable(name);
    throw Error(error.code(), error.problem(), std::move(detail));
  }
  return {block, block.get() + lead};
}

}  // namespace headrace::residency
