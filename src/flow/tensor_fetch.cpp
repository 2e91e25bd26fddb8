#include "flow/tensor_fetch.hpp"

#include "base/fpu.hpp"
#include "base/workers.hpp"
#include "codec/codec.hpp"
#include "flow/convert.hpp"
#include "flow/failures.hpp"
#include "flow/piece_worker.hpp"
#include "flow/sink.hpp"
#include "format/printable.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>

namespace headrace::flow {
namespace {

// The tensor, or its bytes from `begin` on, is made where it is wanted.
class SpanSink final : public Sink {
 public:
  explicit SpanSink(std::span<std::byte> out, std::uint64_t begin = 0) : out_(out), begin_(begin) {}

  bool copy_from(const io::File& file, std::uint64_t at, std::uint32_t, std::uint64_t first,
                 std::uint64_t bytes) override {
    file.read_at(at, out_.subspan(first - begin_, bytes));
    return true;
  }
  Place place(std::uint32_t, std::uint64_t first, std::size_t bytes) override {
    return {out_.subspan(first - begin_, bytes)};
  }
  void put(std::uint32_t, std::uint64_t, std::span<const std::byte>, Place) override {}
  void put_run(std::span<const std::uint32_t>, std::span<const std::byte> bytes, Place) override {
    std::memcpy(out_.data(), bytes.data(), bytes.size());
  }

 private:
  const std::span<std::byte> out_;
  const std::uint64_t begin_;
};

// How many elements of a tensor a piece has: whole blocks of both types.
std::uint64_t piece_elements(const Plan::Impl& plan, std::uint32_t tensor, const PieceSizes& sizes) {
  const TensorInfo &from = plan.source_of(tensor), &to = plan.tensors[tensor];
  const std::uint64_t granule = codec::Transcoder(from.dtype, to.dtype, false).granule();
  const bool copied = from.dtype == to.dtype && from.encoding != Encoding::scaled;
  const std::uint64_t bytes = *bytes_of(from.dtype, granule) + (copied ? 0 : *bytes_of(to.dtype, granule));
  const std::uint64_t wanted = std::min(worth_reading(plan, tensor) * info(from.dtype).block_bytes, sizes.gathered);
  return std::max<std::uint64_t>(std::max(copied ? sizes.copied : sizes.converted, wanted) / bytes, 1) * granule;
}

}  // namespace

TensorFetch::TensorFetch(const Plan::Impl& plan, base::Gate& gate, unsigned threads)
    : plan_(plan), gate_(gate), threads_(base::worker_count(threads)) {}

void TensorFetch::read(std::uint32_t tensor, std::span<std::byte> out) const {
  if (out.empty()) return;
  const unsigned at_once = reads_at_once(plan_), threads = threads_ + at_once;
  const PieceSizes sizes = piece_sizes(gate_.available(), threads, at_once > 0);
  const std::uint64_t most = piece_elements(plan_, tensor, sizes), elements = plan_.tensors[tensor].elements;
  const std::uint64_t pieces = (elements + most - 1) / most;
  SpanSink sink(out);
  ReadSlots slots(at_once);
  const PieceWorker worker(plan_, gate_, sink, sizes, slots, nullptr);
  std::atomic<std::uint64_t> next = 0;
  Failures failures;
  const auto work = [&]() noexcept {
    for (std::uint64_t number = 0; (number = next++) < pieces;) {
      try {
        Piece piece{.number = number, .tensors = std::span(&tensor, 1), .first_element = number * most};
        piece.elements = std::min(most, elements - piece.first_element);
        worker.run(piece);
      } catch (...) {
        failures.record(number, std::current_exception());
        next = pieces;
      }
    }
  };
  const auto count = static_cast<unsigned>(std::min<std::uint64_t>(threads, pieces));
  if (count == 1) {
    const base::FloatMode mode;
    work();
  } else {
    const base::Workers workers(count, work);
  }
  failures.rethrow_if_any();
}

void TensorFetch::read_part(std::uint32_t tensor, std::uint64_t offset, std::span<std::byte> out) const {
  const TensorInfo &from = plan_.source_of(tensor), &to = plan_.tensors[tensor];
  const std::uint64_t granule = codec::Transcoder(from.dtype, to.dtype, false).granule();
  const std::uint64_t granule_bytes = *bytes_of(to.dtype, granule);
  if (offset > to.bytes || out.size() > to.bytes - offset || offset % granule_bytes != 0 ||
      out.size() % granule_bytes != 0) {
    throw Error(ErrorCode::invalid_argument, "a part to read isn't whole blocks of its tensor",
                {.file = plan_.file_of(tensor).name(),
                 .tensor = format::printable(to.name),
                 .expected = fmt::format("multiples of {} bytes within {}", granule_bytes, to.bytes),
                 .found = fmt::format("{} bytes from {}", out.size(), offset)});
  }
  const base::FloatMode mode;
  const unsigned at_once = reads_at_once(plan_);
  const PieceSizes sizes = piece_sizes(gate_.available(), threads_ + at_once, at_once > 0);
  const std::uint64_t most = piece_elements(plan_, tensor, sizes);
  const std::uint64_t first = offset / granule_bytes * granule, end = first + out.size() / granule_bytes * granule;
  SpanSink sink(out, offset);
  ReadSlots slots(at_once);
  const PieceWorker worker(plan_, gate_, sink, sizes, slots, nullptr);
  for (std::uint64_t element = first; element < end; element += most) {
    Piece piece{.tensors = std::span(&tensor, 1), .first_element = element};
    piece.elements = std::min(most, end - element);
    worker.run(piece);
  }
}

}  // namespace headrace::flow
