#include "base/fpu.hpp"
#include "base/workers.hpp"
#include "codec/codec.hpp"
#include "codec/refusal.hpp"
#include "flow/failures.hpp"
#include "flow/region.hpp"
#include "flow/runs.hpp"
#include "flow/tensor_reader.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>
#include <headrace/slice.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

namespace headrace {
namespace flow {
namespace {

// What is rather read than skipped. Of a file, it costs as much as another read does, 0.5 µs, and comes with the same
// pages. A server answers in milliseconds.
constexpr std::uint64_t kGap = 4 << 10, kRemoteGap = 128 << 10;
// A piece: long enough that nothing else counts, short enough to be cancelled and shared.
constexpr std::uint64_t kPieceBytes = std::uint64_t{4} << 20;
// With another type asked for, a piece is read into memory of its own first: it should stay in the cache, where the
// source doesn't make each read a long one.
constexpr std::uint64_t kCastElements = 128 << 10, kRemoteCastElements = std::uint64_t{1} << 20;

bool is_text(DType dtype) { return info(dtype).kind == DTypeKind::text; }

/// What is asked for, checked.
struct Job {
  const Checkpoint::Impl& source;
  const TensorInfo& tensor;
  DType as;
  Nonfinite nonfinite;
  Box box;
  bool cut;  // blocks are decoded and cut
  std::span<std::byte> out;

  bool local() const { return source.file_of(tensor).file() != nullptr; }
};

ErrorDetail where(const Checkpoint::Impl& source, const TensorInfo& tensor) {
  return {.file = source.file_of(tensor).name(), .tensor = format::printable(tensor.name)};
}

/// One thread's memory and the way it reads.
class Slicer {
 public:
  explicit Slicer(const Job& job)
      : job_(job),
        runs_([this](std::uint64_t at, std::span<std::byte> out) { read_tensor(job_.source, job_.tensor, at, out); },
              job.local() ? kGap : kRemoteGap) {}

  void read(const BoxPart& part) {
    const DTypeInfo& as = info(job_.as);
    std::byte* const out = job_.out.data() + part.first / as.block_elements * as.block_bytes;
    if (job_.as == job_.tensor.dtype) return runs_.read(*runs_of(job_.box.shape, part.ranges, job_.as), out);
    std::vector<Range> ranges = part.ranges;
    const std::uint64_t block = info(job_.tensor.dtype).block_elements;
    if (job_.cut) ranges.back() = covering(ranges.back(), block);
    std::uint64_t elements = 1;
    for (const Range& range : ranges) elements *= range.count;
    const std::span<std::byte> stored = room(stored_, stored_size_, *bytes_of(job_.tensor.dtype, elements));
    runs_.read(*runs_of(job_.box.shape, ranges, job_.tensor.dtype), stored.data());
    if (!job_.cut) return convert(part, stored, out, elements);
    const std::span<std::byte> numbers = room(numbers_, numbers_size_, elements * as.block_bytes);
    convert(part, stored, numbers.data(), elements);
    pick(part, ranges.back(), numbers, out);
  }

 private:
  static std::span<std::byte> room(std::unique_ptr<std::byte[]>& memory, std::uint64_t& size, std::uint64_t bytes) {
    if (size < bytes) memory = std::make_unique_for_overwrite<std::byte[]>(size = bytes);
    return {memory.get(), static_cast<std::size_t>(bytes)};
  }

  void convert(const BoxPart& part, std::span<const std::byte> stored, std::byte* to, std::uint64_t elements) {
    const codec::Transcoder transcoder(job_.tensor.dtype, job_.as, job_.nonfinite == Nonfinite::refuse);
    const auto bad = transcoder.run(stored.data(), to, static_cast<std::size_t>(elements));
    if (bad) codec::refuse_value(part.first + bad->element, bad->value, job_.as, where(job_.source, job_.tensor));
  }

  // Of each row of covering blocks, the numbers asked for.
  void pick(const BoxPart& part, const Range& cover, std::span<const std::byte> numbers, std::byte* out) const {
    const Range& range = part.ranges.back();
    const std::uint64_t bytes = info(job_.as).block_bytes;
    const std::byte* from = numbers.data() + (range.first - cover.first) * bytes;
    for (std::uint64_t row = 0; row < part.elements / range.count; ++row, from += cover.count * bytes) {
      if (range.step == 1) {
        std::memcpy(out, from, range.count * bytes);
        out += range.count * bytes;
        continue;
      }
      for (std::uint64_t i = 0; i < range.count; ++i, out += bytes)
        std::memcpy(out, from + i * range.step * bytes, bytes);
    }
  }

  const Job& job_;
  RunReader runs_;
  std::unique_ptr<std::byte[]> stored_, numbers_;
  std::uint64_t stored_size_ = 0, numbers_size_ = 0;
};

unsigned thread_count(const Job& job, unsigned wanted, std::size_t parts) {
  if (job.source.forward_only() || parts <= 1) return 1;
  const unsigned best = job.source.file_of(job.tensor).parallel_reads();
  const unsigned count = wanted == 0 && best != 0 ? best : base::worker_count(wanted);
  return static_cast<unsigned>(std::min<std::size_t>(count, parts));
}

std::vector<BoxPart> parts_of(const Job& job) {
  const DTypeInfo& type = info(job.tensor.dtype);
  const std::uint64_t block = type.block_elements;
  const std::uint64_t most = job.as == job.tensor.dtype ? kPieceBytes / type.block_bytes * block
                             : job.local()              ? kCastElements
                                                        : kRemoteCastElements;
  return split(job.box, most, block, job.cut);
}

void run(const Job& job, const SliceOptions& options) {
  const std::vector<BoxPart> parts = parts_of(job);
  std::atomic<std::size_t> next = 0;
  Failures failures;
  const auto work = [&]() noexcept {
    std::size_t i = 0;
    try {
      Slicer slicer(job);
      while ((i = next++) < parts.size()) {
        options.cancel.throw_if_cancelled();
        slicer.read(parts[i]);
      }
    } catch (...) {
      failures.record(i, std::current_exception());
      next = parts.size();
    }
  };
  const unsigned threads = thread_count(job, options.threads, parts.size());
  if (threads == 1) {
    const base::FloatMode mode;
    work();
  } else {
    const base::Workers workers(threads, work);
  }
  failures.rethrow_if_any();
}

Box checked_box(const TensorInfo& tensor, Region region, DType as, ErrorDetail detail) {
  Box box = make_box(tensor, region);
  if (as == tensor.dtype) {
    if (!is_text(as) && !cuts_blocks(box, as)) return box;
    if (is_text(as) && box.elements == tensor.elements) return box;
    detail.hint = is_text(as) ? "read all of it" : "as another type, they are decoded and cut";
    throw Error(ErrorCode::invalid_argument,
                is_text(as) ? "only the whole of a tensor of text can be read"
                            : "the region is no whole number of blocks of " + std::string(name(as)),
                std::move(detail));
  }
  codec::require_pair(tensor.dtype, as, detail);
  const std::uint64_t block = info(tensor.dtype).block_elements;
  const bool whole_rows = box.shape.back() % block == 0;
  if (info(as).block_elements == 1 && (whole_rows || !cuts_blocks(box, tensor.dtype))) return box;
  throw Error(ErrorCode::invalid_argument,
              whole_rows ? "a part of a tensor can't be had as " + std::string(name(as))
                         : "rows that are no whole blocks can't be cut",
              std::move(detail));
}

std::uint64_t box_bytes(const TensorInfo& tensor, const Box& box, DType as) {
  if (is_text(as)) return tensor.bytes;
  if (const auto bytes = bytes_of(as, box.elements)) return *bytes;
  throw Error(ErrorCode::invalid_argument, "the region is too large",
              {.tensor = format::printable(tensor.name), .found = std::to_string(box.elements) + " elements"});
}

}  // namespace
}  // namespace flow

std::vector<Range> whole(Shape shape) {
  std::vector<Range> ranges;
  for (const std::uint64_t size : shape) ranges.push_back({0, size, 1});
  return ranges;
}

std::uint64_t slice_bytes(const TensorInfo& tensor, Region region, std::optional<DType> as) {
  const DType to = as.value_or(tensor.dtype);
  const ErrorDetail detail{.tensor = format::printable(tensor.name)};
  return flow::box_bytes(tensor, flow::checked_box(tensor, region, to, detail), to);
}

void read_slice(const Checkpoint& checkpoint, const TensorInfo& tensor, Region region, std::span<std::byte> out,
                const SliceOptions& options) {
  const Checkpoint::Impl& source = checkpoint.impl();
  const DType as = options.as.value_or(tensor.dtype);
  flow::Box box = flow::checked_box(tensor, region, as, flow::where(source, tensor));
  if (const std::uint64_t bytes = flow::box_bytes(tensor, box, as); out.size() != bytes) {
    ErrorDetail detail = flow::where(source, tensor);
    detail.expected = std::to_string(bytes) + " bytes";
    detail.found = std::to_string(out.size());
    throw Error(ErrorCode::invalid_argument, "the memory hasn't the size of the region", std::move(detail));
  }
  if (out.empty()) return;
  if (flow::is_text(as)) return flow::read_tensor(source, tensor, 0, out);
  const bool cut = as != tensor.dtype && flow::cuts_blocks(box, tensor.dtype);
  flow::run({source, tensor, as, options.nonfinite, std::move(box), cut, out}, options);
}

}  // namespace headrace
