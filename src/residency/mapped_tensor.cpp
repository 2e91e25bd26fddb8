#include "residency/mapped_tensor.hpp"

#include "format/printable.hpp"
#include "io/page_cache.hpp"

#include <headrace/error.hpp>

#include <utility>

namespace headrace {
namespace {

constexpr std::uint64_t kLarge = std::uint64_t{128} << 10;
// From so many bytes on, the large pages that a tensor has in common with its neighbours are mapped whole.
constexpr std::uint64_t kSeveralLargePages = std::uint64_t{4} << 20;
constexpr std::uint64_t kVector = 64;  // the longest of any processor

// Libraries add up in an order that depends on where the numbers of a vector begin. Those of 2 bytes and less they
// convert or rearrange first.
bool lies_well(DType dtype, std::uint64_t at) {
  const std::uint64_t size = info(dtype).block_bytes;
  return at % (is_block(dtype) || size > 2 ? kVector : size) == 0;
}

io::Mapping::Around mapped_around(DiskMap::Around around, std::uint64_t bytes) noexcept {
  const bool large =
      around == DiskMap::Around::large_pages && bytes >= kSeveralLargePages && io::may_map_more_than_needed();
  return large ? io::Mapping::Around::large_pages : io::Mapping::Around::pages;
}

}  // namespace

std::shared_ptr<const MappedTensor::Pages> MappedTensor::Pages::of(std::shared_ptr<const Plan::Impl> plan,
                                                                   std::uint32_t tensor, std::string_view name,
                                                                   DiskMap::Around around) {
  if (!residency::is_used_as_it_lies(*plan, tensor)) return nullptr;
  const io::File& file = *plan->file_of(tensor).file();
  const TensorInfo& from = plan->source_of(tensor);
  try {
    return std::make_shared<const Pages>(std::move(plan), file, from, name, around);
  } catch (const Error&) {
    return nullptr;  // a file system, or a limit, that has no mapping
  }
}

MappedTensor::Pages::Pages(std::shared_ptr<const Plan::Impl> plan, const io::File& file, const TensorInfo& from,
                           std::string_view name, DiskMap::Around around)
    : plan_(std::move(plan)),
      file_(file),
      first_(from.offset),
      name_(name),
      mapping_(std::make_shared<const io::Mapping>(file, from.offset, static_cast<std::size_t>(from.bytes),
                                                   mapped_around(around, from.bytes))),
      watch_(mapping_->pages()) {}

bool MappedTensor::Pages::is_lost() const noexcept {
  return residency::in_cache(file_, first_, mapping_->bytes().size()) == residency::InCache::lost;
}

// What the system has comes fastest when it is looked at, by as many threads as look.
MappedTensor::Pages::Bring MappedTensor::Pages::bring() const noexcept {
  if (residency::in_cache(file_, first_, mapping_->bytes().size()) == residency::InCache::all) return Bring::was_cached;
  return mapping_->populate(mapping_->lead(), mapping_->bytes().size()) ? Bring::read : Bring::failed;
}

void MappedTensor::Pages::require_intact() const {
  residency::require_unchanged(file_, name_);
  if (watch_.broken()) fail();
}

void MappedTensor::Pages::fail() const {
  throw Error(ErrorCode::io, "a part of the file couldn't be read",
              {.file = file_.name(), .tensor = format::printable(name_)});
}

bool MappedTensor::bring() const {
  const Pages::Bring how = pages_->bring();
  pages_->require_intact();  // what it says is the reason, where it says something
  if (how == Pages::Bring::failed) pages_->fail();
  return how == Pages::Bring::was_cached;
}

bool MappedTensor::is_lost() const noexcept { return pages_->is_lost(); }

void MappedTensor::let_go() const noexcept { pages_->let_go(); }

void MappedTensor::require_intact() const { pages_->require_intact(); }

namespace residency {

void require_unchanged(const io::File& file, std::string_view name) {
  try {
    file.require_unchanged();
  } catch (const Error& error) {
    ErrorDetail detail = error.detail();
    detail.tensor = format::printable(name);
    throw Error(error.code(), error.problem(), std::move(detail));
  }
}

// Counting all small pages of 8 MiB costs as much as looking at 500 KiB. What the cache loses of a tensor it loses from
// its beginning on, mostly; a hole that isn't seen is filled when somebody looks at it.
InCache in_cache(const io::File& file, std::uint64_t first, std::uint64_t count) noexcept {
  constexpr std::uint64_t kFew = std::uint64_t{1} << 20, kGlance = std::uint64_t{128} << 10;
  constexpr double kMost = 0.5;
  if (count > kFew) {
    const auto is_there = [&](std::uint64_t at) { return io::is_cached(file, at, kGlance).value_or(false); };
    if (is_there(first) && is_there(first + count / 2) && is_there(first + count - kGlance)) return InCache::all;
  }
  if (const auto cached = io::is_cached(file, first, count); cached.value_or(true))
    return cached ? InCache::all : InCache::some;
  const auto share = io::cached_share(file, first, count);
  return share && *share < kMost && io::says_what_is_cached(file) ? InCache::lost : InCache::some;
}

bool is_given_as_stored(const Plan::Impl& plan, std::uint32_t tensor) {
  const TensorInfo &from = plan.source_of(tensor), &to = plan.tensors[tensor];
  return plan.file_of(tensor).file() != nullptr && from.encoding == Encoding::plain && from.dtype == to.dtype &&
         from.bytes == to.bytes && to.bytes >= kLarge;
}

bool is_used_as_it_lies(const Plan::Impl& plan, std::uint32_t tensor) {
  return is_given_as_stored(plan, tensor) && lies_well(plan.tensors[tensor].dtype, plan.source_of(tensor).offset);
}

}  // namespace residency
}  // namespace headrace
