#include "flow/retyping.hpp"

#include "base/fpu.hpp"
#include "base/workers.hpp"
#include "codec/refusal.hpp"
#include "flow/failures.hpp"
#include "format/printable.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>
#include <headrace/retype.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>

namespace headrace::flow {
namespace {

constexpr std::size_t kPartOverhead = 96;            // bytes that the table of parts holds of one, beside its numbers
constexpr std::size_t kTile = std::size_t{1} << 20;  // bytes made at once by a thread

TensorInfo in_type(TensorInfo tensor, DType dtype, const std::string& file) {
  const auto bytes = bytes_of(dtype, tensor.elements);
  const bool numbers = is_float(dtype) || is_block(dtype);  // integers are never retyped
  if (!bytes || !numbers || !can_read(dtype) || !can_make(tensor.dtype)) {
    throw Error(ErrorCode::unsupported,
                fmt::format("{} can't be made of {} on the way", name(tensor.dtype), name(dtype)),
                {.file = file, .tensor = format::printable(tensor.name), .hint = "choose another type"});
  }
  tensor.dtype = dtype;
  tensor.bytes = *bytes;
  return tensor;
}

}  // namespace

Retyping::Retyping(const TensorInfo& to, DType from, const RetypingMeans& means)
    : means_(means),
      from_(in_type(to, from, means.file)),
      to_(to.dtype),
      transcoder_(from, to_, means.nonfinite == Nonfinite::refuse),
      granule_(transcoder_.granule()),
      granule_bytes_(static_cast<std::size_t>(*bytes_of(from, granule_))),
      made_bytes_(static_cast<std::size_t>(*bytes_of(to_, granule_))),
      ledger_(std::span(&from_, 1)) {}

void Retyping::write(std::uint64_t first_byte, std::span<const std::byte> bytes, const RetypedSink& sink) {
  ledger_.claim(0, first_byte, bytes.size(), means_.file);
  if (bytes.empty()) return;
  const base::FloatMode mode;
  std::uint64_t granule = first_byte / granule_bytes_;
  if (const auto at = static_cast<std::size_t>(first_byte % granule_bytes_)) {
    const auto part = bytes.first(std::min(bytes.size(), granule_bytes_ - at));
    keep_part(granule++, at, part, sink);
    bytes = bytes.subspan(part.size());
  }
  const std::size_t whole = bytes.size() / granule_bytes_;
  if (whole > 0) convert(granule, bytes.first(whole * granule_bytes_), sink);
  bytes = bytes.subspan(whole * granule_bytes_);
  if (!bytes.empty()) keep_part(granule + whole, 0, bytes, sink);
}

// On several threads where there is enough to do.
void Retyping::convert(std::uint64_t first_granule, std::span<const std::byte> bytes, const RetypedSink& sink) {
  const std::size_t granules = bytes.size() / granule_bytes_;
  const std::size_t tile = std::max<std::size_t>(1, kTile / std::max(made_bytes_, granule_bytes_));  // granules
  const std::size_t tiles = (granules + tile - 1) / tile;
  const auto threads = static_cast<unsigned>(std::min<std::size_t>(base::worker_count(means_.threads), tiles));
  std::atomic<std::size_t> next{0};
  Failures failures;
  const auto work = [&]() noexcept {
    std::size_t i = 0;
    try {
      const base::Gate::Slab out = means_.gate.acquire(std::min(tile, granules) * made_bytes_);
      while ((i = next++) < tiles) {
        const std::size_t begin = i * tile, end = std::min(granules, begin + tile);
        convert_some(first_granule + begin, bytes.subspan(begin * granule_bytes_, (end - begin) * granule_bytes_),
                     out.bytes(), sink);
      }
    } catch (...) {
      failures.record(i, std::current_exception());
      next = tiles;
    }
  };
  if (threads <= 1) {
    work();
  } else {
    const base::Workers workers(threads, work);
  }
  failures.rethrow_if_any();
}

void Retyping::convert_some(std::uint64_t first_granule, std::span<const std::byte> bytes, std::span<std::byte> out,
                            const RetypedSink& sink) const {
  const std::size_t granules = bytes.size() / granule_bytes_;
  if (const auto bad = transcoder_.run(bytes.data(), out.data(), granules * granule_)) {
    codec::refuse_value(first_granule * granule_ + bad->element, bad->value, to_,
                        {.file = means_.file,
                         .tensor = format::printable(from_.name),
                         .hint = "choose a type with the range, or keep what becomes of such numbers (nonfinite)"});
  }
  sink(first_granule * made_bytes_, out.first(granules * made_bytes_));
}

void Retyping::make_room_for_part() const {
  const std::uint64_t needed = granule_bytes_ + kPartOverhead, most = means_.gate.available() / 2;
  if (means_.kept.fetch_add(needed) + needed <= most) return;
  means_.kept -= needed;
  throw Error(ErrorCode::budget, "too many blocks have come by halves",
              {.file = means_.file,
               .tensor = format::printable(from_.name),
               .expected = "at most " + format_bytes(most) + " of them",
               .hint = fmt::format("write runs of whole blocks of {} elements, or raise --memory", granule_)});
}

void Retyping::keep_part(std::uint64_t granule, std::size_t at, std::span<const std::byte> bytes,
                         const RetypedSink& sink) {
  std::vector<std::byte> whole;
  {
    const std::lock_guard lock(mutex_);
    if (!parts_.contains(granule)) make_room_for_part();
    Part& part = parts_[granule];
    part.bytes.resize(granule_bytes_);
    std::memcpy(part.bytes.data() + at, bytes.data(), bytes.size());
    part.filled += bytes.size();
    if (part.filled < granule_bytes_) return;
    whole = std::move(part.bytes);
    parts_.erase(granule);
    means_.kept -= granule_bytes_ + kPartOverhead;
  }
  convert(granule, whole, sink);
}

}  // namespace headrace::flow
